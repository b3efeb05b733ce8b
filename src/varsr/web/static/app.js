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

async function refusal(answer) {
  const said = await answer.json().catch(() => ({}));
  return [said.error || `The server answered ${answer.status}.`, said.advice].filter(Boolean).join(" ");
}

async function add(file) {
  const wish = options();
  wish.set("name", file.name);
  const card = cardOf(null, file.name);
  try {
    let answer;
    for (;;) {
      answer = await fetch(`${api}jobs?${wish}`, {
        method: "POST", body: file, headers: { "content-type": file.type.startsWith("image/") ? file.type : "application/octet-stream" },
      });
      if (answer.status !== 503) break;
      show(card, { name: file.name, state: "waiting", progress: 0 });
      await new Promise((resolve) => setTimeout(resolve, 2000));
    }
    if (!answer.ok) throw new Error(await refusal(answer));
    const job = await answer.json();
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
  const slider = card.querySelector(".slider");
  slider.querySelector("input").addEventListener("input", (event) => {
    slider.style.setProperty("--place", `${event.target.value}%`);
    slider.querySelector(".before").style.clipPath = `inset(0 ${100 - event.target.value}% 0 0)`;
  });
  if (id) { cards.set(id, card); card.dataset.id = id; }
  element("jobs").prepend(card);
  return card;
}

const words = { waiting: "Waiting", running: "Upscaling", done: "Done", failed: "Failed", cancelled: "Cancelled" };

function show(card, job) {
  card.className = `job ${job.state}`;
  let text = words[job.state];
  if (job.state === "running") text += `: ${Math.round(100 * job.progress)} %${job.tiles ? ` of ${job.tiles} tiles` : ""}`;
  if (job.state === "done") text += `: ${job.output_size[0]} × ${job.output_size[1]} px`;
  if (job.error) text = [job.error, job.advice].filter(Boolean).join(" ");
  card.querySelector(".state").textContent = text;
  const bar = card.querySelector("progress");
  bar.value = job.progress;
  bar.hidden = !["waiting", "running"].includes(job.state);
  bar.setAttribute("aria-label", `Progress of ${job.name}`);
  if (job.state === "done") finish(card, job);
}

function finish(card, job) {
  const place = `${api}jobs/${encodeURIComponent(job.id)}/`;
  const slider = card.querySelector(".slider");
  slider.hidden = false;
  for (const which of ["before", "after"]) {
    const image = slider.querySelector(`.${which}`);
    image.src = `${place}${which}.jpg`;
    image.alt = which === "before" ? `${job.name}, enlarged as it is` : `${job.name}, upscaled`;
  }
  const download = card.querySelector(".download");
  download.href = `${place}result`;
  download.download = job.result_name;
  download.hidden = false;
  element("all").hidden = false;
  say(`${job.name} is done.`);
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
