"use strict";
const api = "api/v1/";
const element = (id) => document.getElementById(id);
const cards = new Map();

function say(text) { element("status").textContent = text; }

function options() {
  const found = new URLSearchParams({ scale: element("scale").value, model: element("model").value });
  if (element("format").value) found.set("format", element("format").value);
  if (element("realism").valueAsNumber >= 0) found.set("realism", element("realism").value);
  return found;
}

function refusal(answer) {
  return [answer.body.error || `The server answered ${answer.status}.`, answer.body.advice].filter(Boolean).join(" ");
}

/* Send a file; only XMLHttpRequest says how much of it is sent. */
function send(file, wish, onshare) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", `${api}jobs?${wish}`);
    request.setRequestHeader("content-type", file.type.startsWith("image/") ? file.type : "application/octet-stream");
    request.responseType = "json";
    request.upload.onprogress = (event) => { if (event.lengthComputable) onshare(event.loaded / event.total); };
    request.onload = () => resolve({ status: request.status, body: request.response || {} });
    request.onerror = () => reject(new Error("The server cannot be reached. Is it running?"));
    request.send(file);
  });
}

async function add(file) {
  const wish = options();
  wish.set("name", file.name);
  const card = cardOf(null, file.name);
  try {
    let answer;
    for (;;) {
      answer = await send(file, wish, (share) => show(card, { name: file.name, state: "sending", progress: share }));
      if (answer.status !== 503) break;
      show(card, { name: file.name, state: "waiting", progress: 0 });
      await new Promise((resolve) => setTimeout(resolve, 2000));
    }
    if (answer.status !== 202) throw new Error(refusal(answer));
    const job = answer.body;
    cards.set(job.id, card);
    card.dataset.id = job.id;
    show(card, job);
    follow(job.id);
  } catch (error) {
    show(card, { name: file.name, state: "failed", error: error.message, progress: 0 });
  }
}

async function addAll(files) {
  say(`${files.length === 1 ? "1 image" : `${files.length} images`} added.`);
  for (const file of files) await add(file);
}

function cardOf(id, name) {
  const card = element("job").content.firstElementChild.cloneNode(true);
  card.querySelector(".name").textContent = name;
  card.querySelector(".remove").addEventListener("click", () => remove(card));
  if (id) { cards.set(id, card); card.dataset.id = id; }
  element("jobs").prepend(card);
  return card;
}

const words = { sending: "Sending", waiting: "Waiting", running: "Upscaling", done: "Done", failed: "Failed", cancelled: "Cancelled" };

function show(card, job) {
  card.className = `job ${job.state}`;
  let text = words[job.state];
  if (job.state === "sending") text += `: ${Math.round(100 * job.progress)} %`;
  if (job.state === "running") text += `: ${Math.round(100 * job.progress)} %${job.tiles ? ` of ${job.tiles} tiles` : ""}`;
  if (job.state === "done") text += `: ${job.output_size[0]} × ${job.output_size[1]} px`;
  if (job.error) text = [job.error, job.advice].filter(Boolean).join(" ");
  card.querySelector(".state").textContent = text;
  const bar = card.querySelector("progress");
  bar.value = job.progress;
  bar.hidden = !["sending", "waiting", "running"].includes(job.state);
  bar.setAttribute("aria-label", `Progress of ${job.name}`);
  if (job.state === "done") finish(card, job);
}

function finish(card, job) {
  const place = `${api}jobs/${encodeURIComponent(job.id)}/`;
  comparable(card, job, ["before", "after"].map((which) => `${place}${which}.jpg`));
  const download = card.querySelector(".download");
  download.href = `${place}result`;
  download.download = job.result_name;
  download.hidden = false;
  element("all").hidden = false;
  say(`${job.name} is done.`);
}

/* Compare input and result in a card, from the moment on that it is scrolled to. */
function comparable(card, job, [before, after]) {
  const comparison = card.querySelector(".comparison"), stage = comparison.querySelector(".stage");
  const [width, height] = job.output_size;
  comparison.hidden = false;
  stage.style.aspectRatio = `${width} / ${height}`;
  new IntersectionObserver((entries, observer) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    observer.disconnect();
    const zoom = comparison.querySelector(".zoom");
    const viewer = new Viewer(stage, comparison.querySelector(".position"), {
      onzoom: (percent) => { zoom.textContent = `${percent} %`; }, pageScrolls: true,
    });
    comparison.querySelector(".fit").onclick = () => viewer.fit();
    comparison.querySelector(".actual").onclick = () => viewer.actual();
    comparison.addEventListener("keydown", (event) => {
      if (!event.ctrlKey && !event.metaKey && !event.altKey && viewer.press(event)) event.preventDefault();
    });
    const layers = [{ label: `${job.name}, enlarged as it is`, overview: before, tiles: [] },
      { label: `${job.name}, upscaled`, overview: after, tiles: [] }];
    viewer.show({ width, height, layers });
  }).observe(stage);
}

function follow(id) {
  const source = new EventSource(`${api}jobs/${encodeURIComponent(id)}/events`);
  source.onmessage = (event) => {
    const job = JSON.parse(event.data);
    show(cards.get(id), job);
    if (["done", "failed", "cancelled"].includes(job.state)) source.close();
  };
}

async function remove(card) {
  if (card.dataset.id) {
    await fetch(`${api}jobs/${encodeURIComponent(card.dataset.id)}`, { method: "DELETE" });
    cards.delete(card.dataset.id);
  }
  card.remove();
  element("all").hidden = !document.querySelector(".job.done");
}

element("files").addEventListener("change", (event) => { addAll([...event.target.files]); event.target.value = ""; });
element("realism").addEventListener("input", (event) => {
  const value = event.target.valueAsNumber;
  element("realism-value").textContent = value < 0 ? "as the model has it" : value.toFixed(2);
});
const drop = element("drop");
for (const kind of ["dragenter", "dragover"]) {
  document.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
}
for (const kind of ["dragleave", "drop"]) document.addEventListener(kind, () => drop.classList.remove("over"));
document.addEventListener("drop", (event) => { event.preventDefault(); addAll([...event.dataTransfer.files]); });
document.addEventListener("paste", (event) => { if (event.clipboardData.files.length) addAll([...event.clipboardData.files]); });

(async () => {
  const { models, default: preset } = await (await fetch(`${api}models`)).json();
  for (const name of models) element("model").add(new Option(name, name, name === preset, name === preset));
  for (const job of await (await fetch(`${api}jobs`)).json()) {
    const card = cardOf(job.id, job.name);
    show(card, job);
    if (["waiting", "running"].includes(job.state)) follow(job.id);
  }
})();
