
/* ---- Pictures and evidence of a shadow. Each picture has its content as a text, too. ---- */

const WIDTH = 240, LEAST_STEPS = 9; // three minutes
const RATES = { top: 12, height: 34 }, SHARES = { top: 62, height: 22 }, BARS = { top: 2, height: 62 };
const DECIMALS = new Intl.NumberFormat(undefined, { maximumSignificantDigits: 2 });

const percent = (part, whole) => `${DECIMALS.format(whole ? 100 * part / whole : 0)} %`;
const total = (counts) => counts.reduce((sum, each) => sum + each, 0);
const perSecond = (count, seconds) => `${DECIMALS.format(seconds ? count / seconds : 0)}/s`;

function duration(seconds) {
  if (seconds === null) return "none";
  return seconds < 1 ? `${DECIMALS.format(1000 * seconds)} ms` : `${DECIMALS.format(seconds)} s`;
}

function shape(tag, attributes, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}

function picture(label, height, ...shapes) {
  const made = shape("svg", { viewBox: `0 0 ${WIDTH} ${height}`, width: WIDTH, height, role: "img", "aria-label": label });
  made.append(...shapes);
  return made;
}

// A line whose last point is at the right edge.
function curve(values, most, { top, height }, side) {
  const steps = Math.max(values.length, LEAST_STEPS);
  const at = (value, index) => [
    (steps - values.length + index + .5) * WIDTH / steps, top + height * (1 - value / most),
  ].map((each) => each.toFixed(1)).join(" ");
  return shape("path", { class: side, d: `M${values.map(at).join("L")}` });
}

function strip(sides, least, { top, height }, name) {
  const most = Math.max(least, ...sides.flat());
  return [
    shape("text", { class: "scale", x: 0, y: top - 3 }, name(most)),
    shape("path", { class: "axis", d: `M0 ${top + height}H${WIDTH}` }),
    curve(sides[0], most, { top, height }, "primary"), curve(sides[1], most, { top, height }, "canary"),
  ];
}

function drawRequests(label, { series: s, step }) {
  const shares = [[s.primary_failed, s.primary], [s.mirrored_failed, s.mirrored]]
    .map(([failed, all]) => all.map((count, at) => count ? Math.min(failed[at] / count, 1) : 0));
  return picture(label, SHARES.top + SHARES.height + 2,
    shape("text", { class: "scale end", x: WIDTH, y: RATES.top - 3 }, `${Math.round(Math.max(s.primary.length, LEAST_STEPS) * step / 60)} min`),
    ...strip([s.primary, s.mirrored], 1, RATES, (most) => `${perSecond(most, step)}, requests`),
    ...strip(shares, .01, SHARES, (most) => `${percent(most, 1)}, failures`));
}

function drawLatency(label, { primary, canary, bounds }) {
  const there = primary.map((count, at) => count + canary[at] ? at : -1).filter((at) => at >= 0);
  const first = Math.max(there[0] - 1, 0), last = Math.min(there.at(-1) + 1, bounds.length);
  const wide = WIDTH / (last - first + 1), foot = BARS.top + BARS.height;
  const bars = (counts, side, shift) => {
    const most = Math.max(...counts, 1);
    return shape("path", { class: `${side} bars`, d: counts.slice(first, last + 1).map((count, at) =>
      count ? `M${((at + shift) * wide).toFixed(1)} ${foot}v${(-BARS.height * count / most).toFixed(1)}h${(wide * .42).toFixed(1)}V${foot}z` : "").join("") });
  };
  return picture(label, foot + 14,
    bars(primary, "primary", .06), bars(canary, "canary", .52),
    shape("path", { class: "axis", d: `M0 ${foot}H${WIDTH}` }),
    shape("text", { class: "scale", x: 0, y: foot + 12 }, `${duration(bounds[first - 1] ?? 0)}`),
    shape("text", { class: "scale end", x: WIDTH, y: foot + 12 }, last < bounds.length ? duration(bounds[last]) : `over ${duration(bounds.at(-1))}`));
}

/* ---- What a row shows when it is opened. It is loaded then, and again with each new document. ---- */

function drawDetails(text, { query, name }) {
  const made = element("details", {}), summary = element("summary", {}, text), body = element("div", { class: "evidence" });
  summary.append(element("span", { class: "unseen" }, ` of ${name}`));
  made.append(summary, body);
  made.refresh = async () => {
    try {
      const response = await fetch(`api/v1/pictures?${query}`, { signal: AbortSignal.timeout(PATIENCE_MS) });
      if (!response.ok) throw new Error(`HTTP ${response.status}`);
      const found = await response.text();
      if (made.shown !== found) body.replaceChildren(...evidence(JSON.parse(found)));
      made.shown = found;
    } catch (error) {
      made.shown = body.textContent = `This cannot be shown: ${error.message}.`;
    }
  };
  made.addEventListener("toggle", () => made.open && made.refresh());
  return made;
}

function evidence(found) {
  const parts = [];
  if (found.groups.length) {
    parts.push(grid("Pairs by path", ["Path", "Pairs", "Only the canary failed", "Only the primary failed", "Primary", "Canary"],
      found.groups.map((g) => [g.name, g.pairs, g.canary_failed, g.stable_failed, sideOf(g.primary), sideOf(g.canary)])));
  } else parts.push(element("p", { class: "dim" }, "No pair of responses has been compared yet."));
  if (found.fields.length) {
    const differs = (f) => f.differs === null ? "no baseline" : f.differs ? "more than the baseline" : "as the baseline";
    parts.push(grid("Fields of bodies that differ", ["Path", "Field", "How", "Bodies", "Baseline", "Differs"],
      found.fields.map((f) => [f.group, f.path, f.kind, `${f.differing} of ${f.compared}`, f.baseline ? `${f.noise} of ${f.baseline}` : "", differs(f)])));
    if (found.more_fields) parts.push(element("p", { class: "dim" }, `${found.more_fields} more fields differ.`));
  } else if (found.compared) parts.push(element("p", { class: "dim" }, `No field differs in ${found.compared} bodies.`));
  const counted = (counts) => Object.entries(counts).filter(([, count]) => count).map(([why, count]) => `${count} ${why.replaceAll("_", " ")}`).join(", ");
  const notes = [["Sampled requests that made no pair", found.unpaired], ["Bodies that were not compared", found.skipped]];
  for (const [what, counts] of notes) {
    if (counted(counts)) parts.push(element("p", { class: "dim" }, `${what}: ${counted(counts)}.`));
  }
  if (found.silent) parts.push(element("p", { class: "bad" }, `${found.silent} of its Envoys report no loads.`));
  return parts;
}

function sideOf({ codes, p50, p95, p99 }) {
  return `${codes.map(([code, count]) => `${code}: ${count}`).join(", ")}; p50 ${duration(p50)}, p95 ${duration(p95)}, p99 ${duration(p99)}`;
}

function grid(title, columns, rows) {
  const made = element("div", { class: "grid", role: "region", tabindex: 0, "aria-label": title }), table = element("table", {});
  const line = (cells, tag) => {
    const row = element("tr", {});
    row.append(...cells.map((cell, at) => element(at ? tag : "th", { scope: tag === "th" ? "col" : at ? "" : "row" }, String(cell))));
    return row;
  };
  const head = element("thead", {}), body = element("tbody", {});
  head.append(line(columns, "th"));
  body.append(...rows.map((row) => line(row, "td")));
  table.append(element("caption", {}, title), head, body);
  made.append(table);
  return made;
}

const DRAW = { requests: drawRequests, latency: drawLatency, details: drawDetails };
