"use strict";

/* Layers of an image on a canvas with a divider between two of them: move, zoom, divide. `stage` holds the canvas and
   the divider, `position` is the range that moves the divider from the keyboard, `onzoom` hears of every zoom in %.
   On a page that scrolls, wheel and finger scroll it until the image is zoomed into (with Ctrl, a button or a pinch). */
class Viewer {
  static KEPT_TILES = 120;

  constructor(stage, position, { onzoom, pageScrolls = false }) {
    this.stage = stage;
    this.canvas = stage.querySelector("canvas");
    this.context = this.canvas.getContext("2d");
    this.handle = stage.querySelector(".divider");
    this.position = position;
    this.onzoom = onzoom;
    this.pageScrolls = pageScrolls;
    this.image = { width: 1, height: 1, layers: [] };
    Object.assign(this, { left: 0, right: 1, scale: 1, x: 0, y: 0, divider: 0.5, fitted: true, waiting: false });
    this.bitmaps = new Map();
    this.pointers = new Map();
    this.listen();
  }

  show(image, left = this.left, right = this.right) {
    const moved = this.fitted || this.image.width !== image.width || this.image.height !== image.height;
    const last = image.layers.length - 1;
    this.image = image;
    this.choose(Math.min(left, last), Math.min(right, last));
    if (moved) this.fit(); else this.draw();
  }

  choose(left, right) {
    this.left = left;
    this.right = right;
    this.canvas.setAttribute("aria-label", `${this.label(left)} on the left, ${this.label(right)} on the right`);
    this.divide(this.divider);
  }

  label(layer) { return this.image.layers[layer].label; }

  divide(share) {
    this.divider = Math.min(1, Math.max(0, share));
    this.position.value = this.divider * 100;
    this.position.setAttribute("aria-valuetext", `${Math.round(this.divider * 100)} % ${this.label(this.left)}`);
    this.draw();
  }

  zoomTo(scale, x = this.canvas.clientWidth / 2, y = this.canvas.clientHeight / 2) {
    const bounded = Math.min(32, Math.max(0.01, scale));
    this.x = x - (x - this.x) * bounded / this.scale;
    this.y = y - (y - this.y) * bounded / this.scale;
    this.scale = bounded;
    this.fitted = false;
    this.settle();
  }

  zoomBy(factor) { this.zoomTo(this.scale * factor); }

  actual() { this.zoomTo(1 / (window.devicePixelRatio || 1)); }

  fit() {
    const { width, height } = this.image, { clientWidth, clientHeight } = this.canvas;
    this.scale = Math.min(clientWidth / width, clientHeight / height) || 1;
    this.x = (clientWidth - width * this.scale) / 2;
    this.y = (clientHeight - height * this.scale) / 2;
    this.fitted = true;
    this.settle();
  }

  pan(x, y) {
    this.x += x;
    this.y += y;
    this.fitted = false;
    this.settle();
  }

  settle() {
    const { width, height } = this.image, margin = 40;
    this.x = Math.min(this.canvas.clientWidth - margin, Math.max(margin - width * this.scale, this.x));
    this.y = Math.min(this.canvas.clientHeight - margin, Math.max(margin - height * this.scale, this.y));
    this.stage.classList.toggle("scrolled", this.pageScrolls && this.fitted);
    this.onzoom(Math.round(this.scale * (window.devicePixelRatio || 1) * 100));
    this.draw();
  }

  draw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => { this.waiting = false; this.paint(); });
  }

  paint() {
    const ratio = window.devicePixelRatio || 1, { canvas, context } = this;
    const width = canvas.clientWidth, height = canvas.clientHeight;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.setTransform(ratio * this.scale, 0, 0, ratio * this.scale, ratio * this.x, ratio * this.y);
    context.imageSmoothingEnabled = this.scale * ratio < 2;
    context.imageSmoothingQuality = "high";
    const split = (this.divider * width - this.x) / this.scale;
    const left = -this.x / this.scale, right = (width - this.x) / this.scale;
    this.paintLayer(this.image.layers[this.left], left, split);
    this.paintLayer(this.image.layers[this.right], split, right);
    this.handle.style.left = `${this.divider * 100}%`;
  }

  paintLayer(layer, from, to) {
    const { width, height } = this.image, { context } = this;
    const top = -this.y / this.scale, bottom = (this.canvas.clientHeight - this.y) / this.scale;
    context.save();
    context.beginPath();
    context.rect(from, 0, Math.max(0, to - from), height);
    context.clip();
    const overview = this.bitmap(layer.overview);
    if (overview.complete) context.drawImage(overview, 0, 0, width, height);
    const needed = this.scale * (window.devicePixelRatio || 1) * width > 1.05 * overview.naturalWidth;
    for (const [x, y, w, h, source] of needed ? layer.tiles : []) {
      if (x + w <= from || x >= to || y + h <= top || y >= bottom) continue;
      const tile = this.bitmap(source);
      if (tile.complete) context.drawImage(tile, x, y, w, h);
    }
    context.restore();
  }

  bitmap(source) {
    let found = this.bitmaps.get(source);
    if (found) {
      this.bitmaps.delete(source);
    } else {
      found = new Image();
      found.onload = () => this.draw();
      found.src = source;
    }
    this.bitmaps.set(source, found);
    if (this.bitmaps.size > Viewer.KEPT_TILES) this.bitmaps.delete(this.bitmaps.keys().next().value);
    return found;
  }

  gesture() {
    const [a, b] = [...this.pointers.values()];
    return b ? { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, span: Math.hypot(a.x - b.x, a.y - b.y) } : { ...a, span: 0 };
  }

  listen() {
    const { canvas, handle, pointers } = this;
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!pointers.has(event.pointerId)) return;
      const before = this.gesture();
      pointers.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
      const now = this.gesture();
      if (before.span && now.span) this.zoomTo(this.scale * now.span / before.span, now.x, now.y);
      this.pan(now.x - before.x, now.y - before.y);
    });
    for (const kind of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(kind, (event) => pointers.delete(event.pointerId));
    }
    this.stage.addEventListener("wheel", (event) => {
      if (this.pageScrolls && this.fitted && !event.ctrlKey) return;
      event.preventDefault();
      const box = canvas.getBoundingClientRect();
      this.zoomTo(this.scale * Math.exp(-event.deltaY / 400), event.clientX - box.left, event.clientY - box.top);
    }, { passive: false });
    handle.addEventListener("pointerdown", (event) => handle.setPointerCapture(event.pointerId));
    handle.addEventListener("pointermove", (event) => {
      if (!handle.hasPointerCapture(event.pointerId)) return;
      const box = canvas.getBoundingClientRect();
      this.divide((event.clientX - box.left) / box.width);
    });
    this.position.addEventListener("input", (event) => this.divide(event.target.value / 100));
    window.addEventListener("resize", () => { if (this.fitted) this.fit(); else this.settle(); });
  }

  /* Do what a key stands for, on the image and the divider; false for a key that stands for nothing here. */
  press(event) {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    const actions = {
      "+": () => this.zoomBy(1.5), "=": () => this.zoomBy(1.5), "-": () => this.zoomBy(1 / 1.5),
      "0": () => this.fit(), "1": () => this.actual(), "s": () => this.choose(this.right, this.left),
    };
    if (step && event.shiftKey) this.pan(-60 * step[0], -60 * step[1]);
    else if (step && event.target.type === "range") return false;
    else if (step && step[0]) this.divide(this.divider + 0.02 * step[0]);
    else if (actions[event.key.toLowerCase()]) actions[event.key.toLowerCase()]();
    else return false;
    return true;
  }
}
