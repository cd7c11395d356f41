/**
 * Program of the HTML report. It makes its elements by DOM calls alone: what a guest wrote can only become text.
 */
export const APP = String.raw`
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const main = document.querySelector("main");
const el = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "class") node.className = value;
    else if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value !== undefined && value !== false) node.setAttribute(key, value === true ? "" : String(value));
  }
  node.append(...children.flat().filter((child) => child !== undefined && child !== null));
  return node;
};
const show = (...children) => main.replaceChildren(...children.flat(Infinity).filter((child) => child !== undefined && child !== null));
const time = (ms) => ms < 1000 ? Math.round(ms) + " ms" : ms < 60000 ? (ms / 1000).toFixed(2) + " s"
  : Math.floor(ms / 60000) + " min " + Math.round(ms % 60000 / 1000) + " s";
const statusOf = (status) => el("span", { class: "status " + status }, status);
const state = { text: "", status: "", tag: "", file: "", at: 0 };

function matches(test) {
  if (state.status && test.status !== state.status) return false;
  if (state.file && test.file !== state.file) return false;
  if (state.tag && !test.tags.includes(state.tag)) return false;
  if (!state.text) return true;
  const words = (test.file + " " + test.name + " " + (test.error ? test.error.message : "")).toLowerCase();
  return state.text.toLowerCase().split(/\s+/).every((word) => words.includes(word));
}

function choice(label, key, values) {
  const select = el("select", { "aria-label": label, onchange: () => { state[key] = select.value; list(); } },
    el("option", { value: "" }, label + ": all"), values.map((value) => el("option", { value }, value)));
  select.value = state[key];
  return select;
}

function list() {
  const shown = data.tests.filter(matches);
  let table = document.getElementById("tests");
  if (!table) {
    const search = el("input", { type: "search", id: "search", placeholder: "Search names and errors ( / )", "aria-label": "Search",
      value: state.text, oninput: () => { state.text = search.value; list(); } });
    const unique = (values) => [...new Set(values)].sort();
    table = el("table", { id: "tests" });
    show(
      el("div", { class: "bar" }, search, choice("Status", "status", unique(data.tests.map((t) => t.status))),
        choice("Tag", "tag", unique(data.tests.flatMap((t) => t.tags))), choice("File", "file", unique(data.tests.map((t) => t.file)))),
      files(), el("p", { class: "dim", id: "count", "aria-live": "polite" }), table);
  }
  document.getElementById("count").textContent = shown.length + " of " + data.tests.length + " tests";
  table.replaceChildren(...shown.map((test) => {
    const open = () => { location.hash = "#t" + test.id; };
    return el("tr", { class: "row", tabindex: 0, role: "link", "data-id": test.id, onclick: open,
      onkeydown: (event) => { if (event.key === "Enter") open(); } },
      el("td", {}, statusOf(test.status)),
      el("td", {}, el("span", { class: "dim" }, test.file + " › "), test.name, test.tags.map((tag) => el("span", { class: "tag" }, tag)),
        test.error ? el("div", { class: "dim" }, test.error.message.split("\n")[0]) : test.reason ? el("div", { class: "dim" }, test.reason) : null),
      el("td", { class: "num" }, time(test.durationMs)));
  }));
}

function files() {
  const failed = data.files.filter((file) => file.reason || file.error);
  return failed.length === 0 ? null : el("div", {}, el("h2", {}, "Files that failed by themselves"),
    failed.map((file) => el("div", {}, statusOf(file.status), " ", file.file, ": ", file.reason || "", file.error ? errorOf(file.error) : null)));
}

function errorOf(error) {
  const message = el("pre", {});
  const lines = (error.name + ": " + error.message).split("\n");
  lines.forEach((line, i) => {
    const kind = i === 0 ? "" : /^-(\s|$)/.test(line) ? "del" : /^\+(\s|$)/.test(line) ? "add" : "";
    message.append(kind ? el("span", { class: kind }, line) : line, "\n");
  });
  const frames = (error.frames || []).map((frame, i) =>
    el("div", { class: "dim" }, (i === 0 ? "at " : "called from ") + frame.file + ":" + frame.line + ":" + frame.column));
  const code = error.code ? el("pre", {}, error.code.lines.map((line) =>
    el("span", { class: line.n === error.code.line ? "here" : "" }, String(line.n).padStart(5) + " | " + line.text + "\n"))) : null;
  return el("div", {}, message, frames, code,
    error.cause ? el("div", {}, el("h3", {}, "Caused by"), errorOf(error.cause)) : null,
    (error.errors || []).map((inner) => el("div", {}, el("h3", {}, inner.phase ? "Also, " + inner.phase : "With"), errorOf(inner))));
}

function timeline(test) {
  const lanes = [["steps", test.steps.map((s) => ({ from: s.start, to: s.start + s.ms, text: s.path.join(" › "), kind: "step" + (s.status === "failed" ? " bad" : "") }))]];
  const machines = [...new Set(test.ops.map((op) => op.vm || ""))];
  for (const vm of machines) {
    lanes.push([vm ? "machine " + vm : "operations", test.ops.filter((op) => (op.vm || "") === vm)
      .map((op) => ({ from: op.start, to: op.start + op.ms, text: op.op + (op.ok ? "" : " (failed)"), kind: op.ok ? "" : "bad" }))]);
  }
  const ticks = (name, items) => { if (items.length > 0) lanes.push([name, items]); };
  ticks("machines", test.machineTimes.map((m) => ({ from: m.start, to: m.end, text: m.text, kind: "" })));
  ticks("console", test.console.map((l) => ({ from: l.at, text: l.text, kind: "tick" })));
  ticks("network faults", test.faults.map((f) => ({ from: f.at, text: f.text, kind: "tick fault" })));
  ticks("output", test.logs.map((l) => ({ from: l.at, text: l.stream + ": " + l.text, kind: "tick" })));
  ticks("closed", test.closed.map((c) => ({ from: c.at, text: (c.by === "walker" ? "closed for you: " : "closed: ") + c.text, kind: "tick" + (c.leaked ? " leak" : "") })));
  const shown = lanes.filter(([, items]) => items.length > 0);
  if (shown.length === 0) return null;
  const end = Math.max(test.durationMs, 1, ...shown.flatMap(([, items]) => items.map((i) => i.to || i.from)));
  const detail = el("div", { id: "detail", class: "dim", "aria-live": "polite" });
  const mark = (item) => {
    const tell = () => { detail.textContent = "+" + time(item.from) + (item.to ? ", " + time(item.to - item.from) : "") + ": " + item.text; };
    const width = item.to ? "width:" + Math.max(0.2, (item.to - item.from) / end * 100) + "%;" : "";
    return el("button", { class: "mark " + item.kind, title: item.text, "aria-label": item.text, onfocus: tell, onmouseenter: tell,
      style: "left:" + Math.min(99.7, Math.max(0, item.from / end * 100)) + "%;" + width }, item.to ? item.text : "");
  };
  return el("section", { "aria-label": "Timeline" }, el("h2", {}, "Timeline"), el("div", { class: "scale" }, el("span", {}, "0"), el("span", {}, time(end))),
    el("div", { class: "lanes" }, shown.map(([name, items]) => el("div", { class: "lane" }, el("span", { title: name }, name), el("div", { class: "track" }, items.map(mark))))), detail);
}

function page(test) {
  const part = (title, items) => items && items.length > 0 ? [el("h2", {}, title), items] : [];
  show(
    el("p", {}, el("a", { href: "#" }, "← all tests"), el("span", { class: "dim" }, "  (Escape)")),
    el("h1", { tabindex: -1, id: "title" }, statusOf(test.status), " ", test.name),
    el("p", { class: "dim" }, [test.file, test.class, time(test.durationMs), test.attempt > 1 ? "attempt " + test.attempt : "", test.seed !== undefined ? "seed " + test.seed : ""].filter(Boolean).join(" · ")),
    test.reason ? el("p", {}, test.reason) : null,
    ...(test.error ? [el("h2", {}, "Error"), errorOf(test.error)] : []),
    ...part("Also", (test.errors || []).map((error) => el("div", {}, el("h3", {}, error.phase || ""), errorOf(error)))),
    ...part("In progress when it failed", (test.inProgress || []).map((op) => el("div", {}, (op.vm ? "machine " + op.vm + ": " : "") + op.op + ", for " + time(op.durationMs)))),
    timeline(test),
    ...part("Steps", test.steps.map((s) => el("div", { style: "padding-left:" + (s.path.length - 1) * 16 + "px" }, statusOf(s.status), " ", s.path[s.path.length - 1], el("span", { class: "dim" }, " " + time(s.ms))))),
    ...part("Machines", (test.machines || []).map((m) => el("div", {}, m.vm + ": ", el("span", { class: "dim" }, [m.image, m.how, m.transport, m.accel, m.why].filter(Boolean).join(", "))))),
    ...part("Consoles", (test.consoles || []).filter((c) => c.lines.length > 0).map((c) => el("details", { open: true }, el("summary", {}, c.vm + (c.path ? " – " + c.path : "")), el("pre", {}, c.lines.join("\n"))))),
    ...part("Output", test.logs.length ? [el("pre", {}, test.logs.map((l) => l.stream + "| " + l.text).join("\n"))] : []),
    ...part("Closed by the scope", test.closed.filter((c) => c.by === "walker").map((c) => el("div", { class: c.leaked ? "flaky" : "dim" }, c.text))),
    ...part("Attachments", test.attachments.map((a) => el("details", {}, el("summary", {}, a.name, el("span", { class: "dim" }, " " + a.mediaType + ", " + a.size + " bytes")),
      a.text !== undefined ? el("pre", {}, a.text) : el("div", { class: "dim" }, a.path || "not kept: run with --artifacts")))),
    ...part("Meta", Object.keys(test.meta).length ? [el("pre", {}, JSON.stringify(test.meta, null, 2))] : []),
    ...part("Run again", [el("pre", {}, test.rerun)]));
  document.getElementById("title").focus();
}

function route() {
  const found = /^#t(\d+)$/.exec(location.hash);
  const test = found && data.tests[Number(found[1])];
  main.replaceChildren();
  if (test) return page(test);
  list();
  const row = main.querySelector('tr[data-id="' + state.at + '"]');
  if (row) row.focus({ preventScroll: false });
}

document.addEventListener("keydown", (event) => {
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
  if (event.key === "Escape") { if (location.hash.length > 1) location.hash = "#"; else if (typing) event.target.blur(); }
  else if (typing) return;
  else if (event.key === "/") { event.preventDefault(); const search = document.getElementById("search"); if (search) search.focus(); }
  else if (["ArrowDown", "ArrowUp", "j", "k"].includes(event.key)) {
    const rows = [...document.querySelectorAll("tr.row")];
    if (rows.length === 0) return;
    const down = event.key === "ArrowDown" || event.key === "j";
    const at = rows.indexOf(document.activeElement);
    const next = rows[at < 0 ? 0 : Math.min(rows.length - 1, Math.max(0, at + (down ? 1 : -1)))];
    event.preventDefault();
    state.at = next.dataset.id;
    next.focus();
  }
});
addEventListener("hashchange", () => { const found = /^#t(\d+)$/.exec(location.hash); if (found) state.at = found[1]; route(); });
route();
document.documentElement.dataset.ready = "yes";
`;
