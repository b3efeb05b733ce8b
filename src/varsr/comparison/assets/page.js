"use strict";
const images = JSON.parse(document.getElementById("data").textContent);
const element = (id) => document.getElementById(id);
const canvas = element("canvas"), context = canvas.getContext("2d");
const KEPT_TILES = 120;
const view = { image: 0, left: 0, right: 1, scale: 1, x: 0, y: 0, divider: 0.5, fitted: true };
const bitmaps = new Map();
let waiting = false;

function shown() { return images[view.image]; }

function bitmap(source) {
  let found = bitmaps.get(source);
  if (found) {
    bitmaps.delete(source);
  } else {
    found = new Image();
    found.onload = draw;
    found.src = source;
  }
  bitmaps.set(source, found);
  if (bitmaps.size > KEPT_TILES) bitmaps.delete(bitmaps.keys().next().value);
  return found;
}

function draw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; paint(); });
}

function paint() {
  const ratio = window.devicePixelRatio || 1;
  const width = canvas.clientWidth, height = canvas.clientHeight;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.setTransform(ratio * view.scale, 0, 0, ratio * view.scale, ratio * view.x, ratio * view.y);
  context.imageSmoothingEnabled = view.scale * ratio < 2;
  context.imageSmoothingQuality = "high";
  const split = (view.divider * width - view.x) / view.scale;
  const left = -view.x / view.scale, right = (width - view.x) / view.scale;
  paintLayer(shown().layers[view.left], left, split);
  paintLayer(shown().layers[view.right], split, right);
  element("divider").style.left = `${view.divider * 100}%`;
}

function paintLayer(layer, from, to) {
  const { width, height } = shown();
  const top = -view.y / view.scale, bottom = (canvas.clientHeight - view.y) / view.scale;
  context.save();
  context.beginPath();
  context.rect(from, 0, Math.max(0, to - from), height);
  context.clip();
  const overview = bitmap(layer.overview);
  if (overview.complete) context.drawImage(overview, 0, 0, width, height);
  const needed = view.scale * (window.devicePixelRatio || 1) * width > 1.05 * overview.naturalWidth;
  for (const [x, y, w, h, source] of needed ? layer.tiles : []) {
    if (x + w <= from || x >= to || y + h <= top || y >= bottom) continue;
    const tile = bitmap(source);
    if (tile.complete) context.drawImage(tile, x, y, w, h);
  }
  context.restore();
}

function zoomTo(scale, x = canvas.clientWidth / 2, y = canvas.clientHeight / 2) {
  const bounded = Math.min(32, Math.max(0.01, scale));
  view.x = x - (x - view.x) * bounded / view.scale;
  view.y = y - (y - view.y) * bounded / view.scale;
  view.scale = bounded;
  view.fitted = false;
  settle();
}

function fit() {
  const { width, height } = shown();
  view.scale = Math.min(canvas.clientWidth / width, canvas.clientHeight / height) || 1;
  view.x = (canvas.clientWidth - width * view.scale) / 2;
  view.y = (canvas.clientHeight - height * view.scale) / 2;
  view.fitted = true;
  settle();
}

function actual() { zoomTo(1 / (window.devicePixelRatio || 1)); }

function pan(x, y) {
  view.x += x;
  view.y += y;
  view.fitted = false;
  settle();
}

function settle() {
  const { width, height } = shown(), margin = 40;
  view.x = Math.min(canvas.clientWidth - margin, Math.max(margin - width * view.scale, view.x));
  view.y = Math.min(canvas.clientHeight - margin, Math.max(margin - height * view.scale, view.y));
  element("zoom").textContent = `${Math.round(view.scale * (window.devicePixelRatio || 1) * 100)} %`;
  draw();
}

function divide(share) {
  view.divider = Math.min(1, Math.max(0, share));
  element("position").value = view.divider * 100;
  element("position").setAttribute("aria-valuetext", `${Math.round(view.divider * 100)} % ${label(view.left)}`);
  draw();
}

function label(layer) { return shown().layers[layer].label; }

function choose(left, right) {
  view.left = left;
  view.right = right;
  element("left").value = left;
  element("right").value = right;
  canvas.setAttribute("aria-label", `${label(left)} on the left, ${label(right)} on the right`);
  divide(view.divider);
}

function cell(kind, text) {
  const made = document.createElement(kind);
  made.textContent = text;
  return made;
}

function show(number) {
  const before = shown();
  view.image = (number + images.length) % images.length;
  const image = shown();
  element("name").textContent = image.name;
  document.title = `${image.name} - comparison`;
  for (const side of ["left", "right"]) {
    element(side).replaceChildren(...image.layers.map((layer, index) => {
      const option = cell("option", layer.label);
      option.value = index;
      return option;
    }));
  }
  const last = image.layers.length - 1;
  choose(Math.min(view.left, last), Math.min(view.right, last));
  facts(image);
  [...element("strip").children].forEach((button, index) => {
    button.setAttribute("aria-current", index === view.image);
    if (index === view.image) button.scrollIntoView({ block: "nearest", inline: "nearest" });
  });
  if (view.fitted || before.width !== image.width || before.height !== image.height) fit(); else draw();
}

function facts(image) {
  const rows = image.layers.filter((layer) => layer.facts);
  const names = [...new Set(rows.flatMap((layer) => Object.keys(layer.facts)))];
  const head = document.createElement("tr");
  head.append(cell("th", ""), ...names.map((name) => cell("th", name)));
  element("facts").tHead.replaceChildren(head);
  element("facts").tBodies[0].replaceChildren(...rows.map((layer) => {
    const row = document.createElement("tr");
    row.append(cell("th", layer.label), ...names.map((name) => cell("td", layer.facts[name] ?? "")));
    return row;
  }));
}

function strip() {
  if (images.length < 2) return;
  element("strip").replaceChildren(...images.map((image, index) => {
    const button = document.createElement("button"), picture = new Image();
    picture.src = image.thumbnail;
    picture.alt = image.name;
    picture.loading = "lazy";
    button.type = "button";
    button.append(picture);
    button.onclick = () => show(index);
    return button;
  }));
}

const pointers = new Map();
function gesture() {
  const [a, b] = [...pointers.values()];
  return b ? { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, span: Math.hypot(a.x - b.x, a.y - b.y) } : { ...a, span: 0 };
}

function listen() {
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!pointers.has(event.pointerId)) return;
    const before = gesture();
    pointers.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
    const now = gesture();
    if (before.span && now.span) zoomTo(view.scale * now.span / before.span, now.x, now.y);
    pan(now.x - before.x, now.y - before.y);
  });
  for (const kind of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(kind, (event) => pointers.delete(event.pointerId));
  }
  element("stage").addEventListener("wheel", (event) => {
    event.preventDefault();
    const box = canvas.getBoundingClientRect();
    zoomTo(view.scale * Math.exp(-event.deltaY / 400), event.clientX - box.left, event.clientY - box.top);
  }, { passive: false });
  const divider = element("divider");
  divider.addEventListener("pointerdown", (event) => divider.setPointerCapture(event.pointerId));
  divider.addEventListener("pointermove", (event) => {
    if (!divider.hasPointerCapture(event.pointerId)) return;
    const box = canvas.getBoundingClientRect();
    divide((event.clientX - box.left) / box.width);
  });
  element("position").addEventListener("input", (event) => divide(event.target.value / 100));
  element("left").addEventListener("change", (event) => choose(Number(event.target.value), view.right));
  element("right").addEventListener("change", (event) => choose(view.left, Number(event.target.value)));
  element("swap").onclick = () => choose(view.right, view.left);
  element("fit").onclick = fit;
  element("actual").onclick = actual;
  element("larger").onclick = () => zoomTo(view.scale * 1.5);
  element("smaller").onclick = () => zoomTo(view.scale / 1.5);
  document.addEventListener("keydown", onKey);
  window.addEventListener("resize", () => { if (view.fitted) fit(); else settle(); });
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("select")) return;
  const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  const actions = {
    "+": () => zoomTo(view.scale * 1.5), "=": () => zoomTo(view.scale * 1.5), "-": () => zoomTo(view.scale / 1.5),
    "0": fit, "1": actual, "s": () => choose(view.right, view.left), "n": () => show(view.image + 1), "p": () => show(view.image - 1),
  };
  if (step && event.shiftKey) pan(-60 * step[0], -60 * step[1]);
  else if (step && event.target.type === "range") return;
  else if (step && step[0]) divide(view.divider + 0.02 * step[0]);
  else if (actions[event.key.toLowerCase()]) actions[event.key.toLowerCase()]();
  else return;
  event.preventDefault();
}

strip();
listen();
show(0);
