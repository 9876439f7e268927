// Two curves over time and marks where something happened, as SVG.

import { svg } from "./dom.js";

const [WIDTH, HEIGHT, LEFT, RIGHT, PANEL] = [720, 300, 56, 8, 110];
const PANELS = [
  { name: "surprise", title: "Surprise", top: 24 },
  { name: "gateShare", title: "Gate share", top: 168 },
];

/** Return the chart. Samples have `at` (milliseconds), `surprise` and `gateShare`; marks have `at` and `kind`. */
export function chart(samples, marks, spanMs) {
  const end = samples.at(-1)?.at ?? 0;
  const x = (at) => LEFT + (WIDTH - LEFT - RIGHT) * (1 - (end - at) / spanMs);
  const last = samples.at(-1);
  const words = last
    ? `Surprise ${last.surprise.toFixed(3)}, gate share ${last.gateShare.toFixed(3)} at the end; ${marks.length} events marked. The table below has the figures.`
    : "No figures yet.";
  return svg(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-labelledby": "chart-title chart-desc" },
    svg("title", { id: "chart-title" }, "Surprise and gate share over time"),
    svg("desc", { id: "chart-desc" }, words),
    ...PANELS.flatMap((panel) => curve(panel, samples, x)),
    ...marks.flatMap(({ at, kind }) => [
      svg("line", { class: "mark", x1: x(at), x2: x(at), y1: 14, y2: HEIGHT - 20 }),
      svg("text", { x: x(at), y: 10, "text-anchor": x(at) > WIDTH / 2 ? "end" : "start" }, kind),
    ]),
    svg("text", { x: LEFT, y: HEIGHT - 4 }, `${spanMs / 1000} s ago`),
    svg("text", { x: WIDTH - RIGHT, y: HEIGHT - 4, "text-anchor": "end" }, "now"),
  );
}

function curve({ name, title, top }, samples, x) {
  const most = name === "gateShare" ? 1 : Math.max(1e-9, ...samples.map((sample) => sample[name])) * 1.1;
  const y = (value) => top + PANEL * (1 - value / most);
  const points = samples.map((sample) => `${x(sample.at).toFixed(1)},${y(sample[name]).toFixed(1)}`).join(" ");
  return [
    svg("rect", { class: "panel", x: LEFT, y: top, width: WIDTH - LEFT - RIGHT, height: PANEL }),
    svg("text", { x: LEFT + 6, y: top + 14 }, title),
    svg("text", { x: LEFT - 4, y: top + 10, "text-anchor": "end" }, most.toPrecision(2)),
    svg("text", { x: LEFT - 4, y: top + PANEL, "text-anchor": "end" }, "0"),
    svg("polyline", { class: `curve ${name}`, points }),
  ];
}
