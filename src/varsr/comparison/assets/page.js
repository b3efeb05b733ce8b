const images = JSON.parse(document.getElementById("data").textContent);
const element = (id) => document.getElementById(id);
const viewer = new Viewer(element("stage"), element("position"), {
  onzoom: (percent) => { element("zoom").textContent = `${percent} %`; },
});
let current = 0;

function choose(left, right) {
  viewer.choose(left, right);
  element("left").value = left;
  element("right").value = right;
}

function cell(kind, text) {
  const made = document.createElement(kind);
  made.textContent = text;
  return made;
}

function show(number) {
  current = (number + images.length) % images.length;
  const image = images[current];
  element("name").textContent = image.name;
  document.title = `${image.name} - comparison`;
  for (const side of ["left", "right"]) {
    element(side).replaceChildren(...image.layers.map((layer, index) => {
      const option = cell("option", layer.label);
      option.value = index;
      return option;
    }));
  }
  viewer.show(image);
  element("left").value = viewer.left;
  element("right").value = viewer.right;
  facts(image);
  [...element("strip").children].forEach((button, index) => {
    button.setAttribute("aria-current", index === current);
    if (index === current) button.scrollIntoView({ block: "nearest", inline: "nearest" });
  });
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
    const button = document.createElement("button"), thumbnail = new Image();
    thumbnail.src = image.thumbnail;
    thumbnail.alt = image.name;
    thumbnail.loading = "lazy";
    button.type = "button";
    button.append(thumbnail);
    button.onclick = () => show(index);
    return button;
  }));
}

function listen() {
  element("left").addEventListener("change", (event) => choose(Number(event.target.value), viewer.right));
  element("right").addEventListener("change", (event) => choose(viewer.left, Number(event.target.value)));
  element("swap").onclick = () => choose(viewer.right, viewer.left);
  element("fit").onclick = () => viewer.fit();
  element("actual").onclick = () => viewer.actual();
  element("larger").onclick = () => viewer.zoomBy(1.5);
  element("smaller").onclick = () => viewer.zoomBy(1 / 1.5);
  document.addEventListener("keydown", onKey);
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("select")) return;
  const key = event.key.toLowerCase();
  if (key === "n" || key === "p") show(current + (key === "n" ? 1 : -1));
  else if (!viewer.press(event)) return;
  else if (key === "s") choose(viewer.left, viewer.right);
  event.preventDefault();
}

strip();
listen();
show(0);
