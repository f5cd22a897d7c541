
const EVERY_MS = 1000;    // between two polls
const SELDOM_MS = 15000;  // the maximum, while the server does not respond
const PATIENCE_MS = 5000; // for one response
const MOST_ROWS = 200;    // of a table, until "Show all"
const FEW_ROWS = 8;       // that need no filter
const MOST_MARKED = 50;   // if more rows changed, none is highlighted
const ADDRESSES = 2;      // of a canary that are shown

const TONES = {
  Active: "good", Pending: "wait", Paused: "idle", Expired: "idle", Rejected: "bad",
  Stopping: "wait",
  "In sync": "good", Waiting: "wait", Rejecting: "bad",
  Worse: "bad", NoWorse: "good", TooEarly: "idle", Blind: "wait",
  SYNCED: "good", STALE: "wait", NOT_SENT: "dim", ERROR: "bad",
};
const TROUBLES = new Set(["NoEnvoy", "NoReports", "NotMirrored", "Failing", "Dropped"]); // of an active shadow
const SYNC = { SYNCED: "✓", STALE: "sent", NOT_SENT: "not sent", ERROR: "✗ NACK" };

/* ---- Content. A cell is a list of [text, classes, what DRAW takes]. Many texts are untrusted. ---- */

const line = (text, classes = "") => [text, `line ${classes}`];
const badge = (word) => [word, `badge ${TONES[word]}`];
const short = (version) => version.slice(0, 8);

function listed(names, count, most) {
  const more = count - Math.min(names.length, most);
  return names.slice(0, most).join(", ") + (more > 0 ? ` and ${more} more` : "");
}

function time(text) {
  const at = new Date(text);
  return at.toDateString() === new Date().toDateString() ? at.toLocaleTimeString() : at.toLocaleString();
}

function addresses(all) {
  const more = all.length - ADDRESSES;
  const shown = all.slice(0, ADDRESSES).map((each) => line(each, "dim code"));
  return more > 0 ? [...shown, line(`and ${more} more`, "dim")] : shown;
}

function kind(s) {
  return s.kind === "Deployment" ? "" : `${s.kind} `;
}

function on({ gateways }) {
  const names = gateways.join(", ");
  return names === "" || names === "gateway" ? "" : ` on ${names}`;
}

function shadowCells(s) {
  const settings = s.settings.filter(({ name }) => name !== "percent" && name !== "methods");
  return [
    [[`${s.namespace}/`, "dim"], [s.name, "name"], line(`${kind(s)}of Service ${s.service}${on(s)}`, "dim")],
    [badge(s.state), line(s.reason, TROUBLES.has(s.reason) ? "bad" : "dim")],
    s.percent ? [[`${s.percent} %`], line(s.methods.join(", ") || "all methods", "dim")] : [["unknown", "dim"]],
    [[s.endpoints.length], ...addresses(s.endpoints)],
    [
      [s.message],
      ...s.conditions.map((each) => line(each.message, "bad")),
      ...settings.map((each) => line(`${each.name}=${each.value}${each.origin === `the ${s.kind}` ? "" : ` (${each.origin})`}`, "dim code")),
    ],
  ];
}

function nodeState(n) {
  if (n.types.some((t) => t.sync === "ERROR")) return "Rejecting";
  return n.types.some((t) => t.sync === "STALE" || t.sync === "NOT_SENT") || !n.types.length ? "Waiting" : "In sync";
}

function nodeCells(n) {
  const nacks = n.types.filter((t) => t.last_nack).map((t) => {
    const [end, tone] = t.sync === "ERROR" ? ["", "bad"] : [" (resolved)", "dim"];
    return line(`${time(t.last_nack.at)} ${t.short_name} ${short(t.last_nack.version)}${end}: ${t.last_nack.message}`, tone);
  });
  return [
    [[n.id, "name"], line(`${n.build}, ${n.variant}${n.routes_only ? ", routes only" : ""}`, "dim"), line(n.peer, "dim code")],
    [badge(nodeState(n)), line(`since ${time(n.connected)}`, "dim")],
    n.types.map((t) => [`${t.short_name} ${short(t.sent_version)} ${SYNC[t.sync]}`, `chip code ${TONES[t.sync]}`]),
    nacks.length ? nacks : [["none", "dim"]],
  ];
}

function verdictCells(v) {
  const notes = [v.since && `Since ${time(v.since)}`, v.arrived !== null && `${percent(Math.min(v.arrived, 1), 1)} of the sampled pairs arrived`];
  const trouble = [v.changed_fields && `Fields of bodies that differ: ${v.changed_fields}`, v.slower && "Slower than the baseline"];
  const name = `${v.namespace}/${v.name}`;
  return [
    [[`${v.namespace}/`, "dim"], [v.name, "name"], line(`${kind(v)}of Service ${v.service}`, "dim")],
    [
      badge(v.verdict), line(v.message), ...trouble.filter(Boolean).map((each) => line(each, "bad")),
      line(notes.filter(Boolean).join("; "), "dim"),
    ],
    requestsCell(v), latencyCell(v),
    [["Paths and fields", "", { kind: "details", name, query: String(new URLSearchParams({ namespace: v.namespace, kind: v.kind, name: v.name })) }]],
  ];
}

function requestsCell({ series, mirrored: { dropped } }) {
  const { step_s: step } = known.pictures.data, seconds = step * series.primary.length;
  if (!seconds) return [["No picture yet.", "dim"]];
  const side = (all, failed) => `${perSecond(total(all), seconds)}, ${percent(total(failed), total(all))} failed`;
  const mirrored = `Mirrored ${side(series.mirrored, series.mirrored_failed)}`, primary = `Primary ${side(series.primary, series.primary_failed)}`;
  const label = `Requests of the last ${Math.ceil(seconds / 60)} minutes. ${mirrored}. ${primary}.`;
  return [
    [label, "", { kind: "requests", series, step }], line(mirrored, "key canary"), line(primary, "key primary"),
    ...(dropped ? [line(`${dropped.toLocaleString()} were not sent (max-concurrent)`, "bad")] : []),
  ];
}

function latencyCell({ pairs, latency: { primary, canary } }) {
  if (!pairs) return [["No pairs yet.", "dim"]];
  const side = ({ p50, p95, p99 }) => `p50 ${duration(p50)}, p95 ${duration(p95)}, p99 ${duration(p99)}`;
  const texts = [`Canary ${side(canary)}`, `Primary ${side(primary)}`];
  return [
    [`Latencies of ${pairs} pairs. ${texts.join(". ")}.`, "", { kind: "latency", primary: primary.bars, canary: canary.bars, bounds: known.pictures.data.bounds_s }],
    line(texts[0], "key canary"), line(texts[1], "key primary"),
  ];
}

function isJudged(v) {
  const isIt = (s) => s.namespace === v.namespace && s.name === v.name && s.kind === v.kind;
  return v.pairs || v.mirrored.issued || known.shadows.data.shadows.some((s) => isIt(s) && s.state === "Active");
}

const NO_SHADOWS = "No shadows. Label a Deployment with xds-shadow.io/shadow-of=SERVICE.";
const NOT_KNOWN = "Shadows are not known yet: the first list is not complete.";

// `part` is the document of the API, `list` its list (by default the id of the table) of which `only` become rows.
// `group` assigns rows to `groups`, which are counted. `announce` is for screen readers. `mark` is what has to change
// for a row to be announced and highlighted, by default any cell.
const TABLES = {
  shadows: {
    title: "Shadows", part: "shadows", columns: ["Shadow", "State", "Mirrored", "Endpoints", "Message"],
    groups: ["Rejected", "Pending", "Stopping", "Active", "Paused", "Expired"], group: (s) => s.state,
    key: (s) => [s.namespace, s.name, s.kind], cells: shadowCells,
    announce: (s) => `${s.namespace}/${s.name} is ${s.state}`,
    nothing: NOT_KNOWN,
  },
  verdicts: {
    title: "Verdicts", part: "pictures", list: "pictures", only: isJudged, columns: ["Shadow", "Verdict", "Requests", "Latency", "Evidence"],
    groups: ["Worse", "Blind", "TooEarly", "NoWorse"], group: (v) => v.verdict,
    key: (v) => [v.namespace, v.name, v.kind], cells: verdictCells, mark: (v) => v.verdict,
    announce: (v) => `The verdict on ${v.namespace}/${v.name} is ${v.verdict}`,
  },
  nodes: {
    title: "Envoys", part: "nodes", columns: ["Envoy", "State", "Versions", "Last NACK"],
    groups: ["Rejecting", "Waiting", "In sync"], group: nodeState,
    key: (n) => [n.id, n.peer], cells: nodeCells,
    announce: (n) => `${n.id} is ${nodeState(n)}`,
    nothing: "No Envoy is connected.",
  },
  problems: {
    title: "Problems", part: "config", list: "conditions", only: (c) => c.severity === "Error", columns: ["Object", "Reason", "Message"], groups: [],
    key: (p) => [p.subject, p.origin, p.reason, p.message],
    cells: (p) => [[[p.subject || p.origin, "name"]], [[p.reason, "bad"]], [[p.message]]],
    announce: (p) => `Problem: ${p.subject || p.origin}: ${p.reason}`,
  },
  notices: {
    title: "Notices", part: "config", list: "conditions", only: (c) => c.severity === "Info", columns: ["Object", "Reason", "Message"], groups: [],
    key: (n) => [n.subject, n.reason, n.message],
    cells: (n) => [[[n.subject, "name"]], [[n.reason, "dim"]], [[n.message]]],
  },
  changes: {
    title: "Recent changes", part: "config", columns: ["Object", "When", "Reason", "Message"], groups: [],
    key: (c) => [c.since, c.subject, c.reason, c.message],
    cells: (c) => [[[c.subject, "name"]], [[time(c.since), "dim"]], [[c.reason]], [[c.message]]],
    nothing: "No changes since the control plane started.",
  },
};

/* ---- A table. Rows are kept by key, and only cells that changed are updated. ---- */

const $ = (selector, within = document) => within.querySelector(selector);

function element(tag, attributes, text = "") {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}

class Table {
  constructor(id, about) {
    Object.assign(this, { about, facts: new Map(), rows: new Map(), only: "", all: false, empty: true });
    this.section = $("template").content.cloneNode(true).firstElementChild;
    this.section.id = id;
    $("h2", this.section).textContent = about.title;
    [this.body, this.filter, this.note] = ["tbody", "input", ".note"].map((each) => $(each, this.section));
    this.filter.setAttribute("aria-label", `Filter ${about.title}`);
    $("thead tr", this.section).append(...about.columns.map((c) => element("th", { scope: "col", role: "columnheader" }, c)));
    this.counts = new Map(about.groups.map((group) => [group, element("button", { type: "button", class: TONES[group] })]));
    $(".counts", this.section).append(...this.counts.values());
    for (const [group, button] of this.counts) {
      button.addEventListener("click", () => { this.only = this.only === group ? "" : group; this.show(); });
    }
    this.filter.addEventListener("input", () => this.show());
    $("button", this.note).addEventListener("click", () => { this.all = true; this.show(); });
    $("main").append(this.section);
  }

  // Replace the content. Returns the items that are new or changed.
  take(items) {
    const before = this.facts, times = new Map();
    this.facts = new Map(items.map((item) => {
      const key = JSON.stringify(this.about.key(item));
      times.set(key, (times.get(key) ?? 0) + 1); // an item that occurs twice has two rows
      const cells = this.about.cells(item);
      const text = cells.flat().map(([each]) => each).join(" ").toLowerCase();
      const content = cells.map((each) => JSON.stringify(each));
      return [`${key} ${times.get(key)}`, { item, cells: content, text, mark: this.about.mark?.(item) ?? String(content) }];
    }));
    const isNew = ([key, { mark }]) => before.get(key)?.mark !== mark;
    const changed = this.empty ? [] : [...this.facts].filter(isNew);
    this.empty = false;
    this.show(new Set(changed.map(([key]) => key)));
    return changed.map(([, { item }]) => item);
  }

  count(group) {
    return [...this.facts.values()].filter(({ item }) => this.about.group(item) === group).length;
  }

  show(changed = new Set()) {
    const words = this.filter.value.toLowerCase().split(/\s+/);
    const found = [...this.facts].filter(([, { item, text }]) =>
      (!this.only || this.about.group(item) === this.only) && words.every((word) => text.includes(word)));
    const shown = new Map(this.all ? found : found.slice(0, MOST_ROWS));
    for (const [key, row] of this.rows) {
      if (!shown.has(key)) { row.remove(); this.rows.delete(key); }
    }
    let next = this.body.firstElementChild;
    for (const [key, { cells }] of shown) {
      const row = this.rows.get(key) ?? this.newRow(key);
      if (row === next) next = next.nextElementSibling;
      else this.body.insertBefore(row, next);
      cells.forEach((cell, column) => fill(row.children[column], cell));
      if (changed.size <= MOST_MARKED && changed.has(key)) mark(row);
    }
    this.frame(found.length, shown.size);
  }

  newRow(key) {
    const row = element("tr", { role: "row", "data-key": key });
    row.append(...this.about.columns.map((column, at) => at
      ? element("td", { role: "cell", "data-column": column }) : element("th", { role: "rowheader", scope: "row" })));
    this.rows.set(key, row);
    return row;
  }

  // The counts, the filter and the note.
  frame(found, shown) {
    const { groups, nothing } = this.about;
    for (const group of groups) {
      const button = this.counts.get(group), count = this.count(group);
      button.textContent = `${count.toLocaleString()} ${group}`;
      button.hidden = !count && this.only !== group;
      button.setAttribute("aria-pressed", this.only === group);
    }
    this.section.hidden = !this.facts.size && !nothing;
    this.filter.hidden = this.facts.size <= FEW_ROWS && !this.filter.value;
    this.note.hidden = shown > 0 && shown === found;
    $("button", this.note).hidden = shown === found;
    $("span", this.note).textContent = !this.facts.size ? nothing : !found ? "No row matches."
      : `${shown.toLocaleString()} of ${found.toLocaleString()} are shown.`;
  }
}

function fill(cell, content) {
  if (cell.content === content) return;
  cell.content = content;
  cell.replaceChildren(...JSON.parse(content).map(([text, classes, drawn]) =>
    drawn ? DRAW[drawn.kind](text, drawn) : element("span", classes ? { class: classes } : {}, text)));
}

function mark(row) {
  row.classList.remove("changed");
  void row.offsetWidth; // restarts the animation
  row.classList.add("changed");
}

/* ---- Polling ---- */

const tables = Object.entries(TABLES).map(([id, about]) => new Table(id, about));
const known = {}; // by part: the last response and its tag

async function get(part) {
  const last = known[part];
  const response = await fetch(`api/v1/${part}`, {
    headers: last ? { "If-None-Match": last.tag } : {}, signal: AbortSignal.timeout(PATIENCE_MS),
  });
  if (response.status === 304) return;
  if (!response.ok) throw new Error(`${part}: HTTP ${response.status}`);
  known[part] = { tag: response.headers.get("ETag"), data: await response.json() };
}

function show() {
  const messages = [];
  for (const table of tables) {
    const { part, list = table.section.id, only = () => true, announce } = table.about, { data } = known[part];
    if (table.shown === data) continue;
    table.shown = data;
    const changed = table.take(data[list].filter(only));
    for (const each of table.section.querySelectorAll("details[open]")) each.refresh();
    if (announce) messages.push(...changed.map(announce));
  }
  if (messages.length) $("#announcement").textContent = listed(messages, messages.length, 3);
  showServer(known.config.data.server, known.pictures.data.replicas);
  const [shadows, verdicts, nodes] = tables;
  const trouble = shadows.count("Rejected") + verdicts.count("Worse") + nodes.count("Rejecting");
  document.title = trouble ? `(${trouble}) xds-shadow` : "xds-shadow";
}

function showServer(server, missing) {
  const known = Object.keys(server.versions).length, nothing = known ? NO_SHADOWS : NOT_KNOWN, [shadows] = tables;
  if (shadows.about.nothing !== nothing) {
    shadows.about.nothing = nothing;
    shadows.show();
  }
  const { message, outage_seconds: outage } = server.source, failures = Number(server.build_failures);
  const failed = failures ? ` Builds failed ${failures} times; the last valid configuration stays in use.` : "";
  $("#version").textContent = server.version;
  const without = missing.map(({ name, problem }) => ` Verdicts are without the replica ${name}: ${problem}.`).join("");
  $("#source").textContent = `${message}. The configuration last changed ${time(server.committed)}.${failed}${without}`;
  $("#source").className = outage !== undefined || failures || without ? "bad" : "dim";
}

function showLink(error) {
  const lost = $("#lost");
  $("#link").textContent = error ? "No response" : "Live";
  $("#link").className = `badge ${error ? "bad" : "good"}`;
  if (lost.hidden === !error) return;
  lost.hidden = !error;
  lost.textContent = error ? `The control plane has not responded since ${new Date().toLocaleTimeString()}`
    + ` (${error.message}). The page shows its last state. Retrying.` : "";
  $("main").classList.toggle("old", Boolean(error));
}

let timer, wait = EVERY_MS, polling = false;

async function poll() {
  if (polling) return;
  polling = true;
  clearTimeout(timer);
  const error = await Promise.all(["shadows", "nodes", "config", "pictures"].map(get)).then(() => null, (why) => why);
  wait = error ? Math.min(2 * wait, SELDOM_MS) : EVERY_MS;
  polling = false;
  if (!document.hidden) timer = setTimeout(poll, wait);
  showLink(error);
  if (!error) show();
}

document.addEventListener("visibilitychange", () => document.hidden ? clearTimeout(timer) : poll());
poll();
