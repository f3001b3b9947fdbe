// A line over steps: what was learnt from, and what was measured beside it.
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { smooth, ticks } from "../domain/chart";
import type { Point } from "../domain/chart";
import { number } from "../i18n";

interface Props {
  label: string;
  /** The last step there will be. */
  most: number;
  line: Point[];
  dots: Point[];
  names: { line: string; dots: string; x: string };
}

const HEIGHT = 240;
const LEFT = 44;
const BOTTOM = 26;
const TOP = 10;
const RIGHT = 10;

/** The width of an element, as it is now. */
export function useWidth(): [{ current: HTMLElement | null }, number] {
  const box = useRef<HTMLElement>(null);
  const [width, setWidth] = useState(640);
  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const watch = new ResizeObserver(() => setWidth(Math.max(200, element.clientWidth)));
    watch.observe(element);
    return () => watch.disconnect();
  }, []);
  return [box, width];
}

export function LineChart({ label, most, line, dots, names }: Props): JSX.Element {
  const [box, width] = useWidth();
  const all = [...line, ...dots].map((point) => point.y).filter(Number.isFinite);
  const top = all.length > 0 ? Math.max(...all) : 1;
  const low = all.length > 0 ? Math.min(...all) : 0;
  const room = Math.max((top - low) * 0.08, 1e-3);
  const [from, to] = [Math.max(0, low - room), top + room];
  const x = (value: number) => LEFT + (value / Math.max(1, most)) * (width - LEFT - RIGHT);
  const y = (value: number) => TOP + (1 - (value - from) / (to - from)) * (HEIGHT - TOP - BOTTOM);
  const path = (points: Point[]) => points.map((point, at) => `${at === 0 ? "M" : "L"}${x(point.x).toFixed(1)} ${y(point.y).toFixed(1)}`).join("");
  return (
    <figure class="line-chart" ref={box}>
      <svg width={width} height={HEIGHT} viewBox={`0 0 ${width} ${HEIGHT}`} role="img" aria-label={label}>
        {ticks(from, to, 4).map((value) => (
          <g key={value}><line class="grid-line" x1={LEFT} x2={width - RIGHT} y1={y(value)} y2={y(value)} /><text x={LEFT - 8} y={y(value) + 4} text-anchor="end">{number(value, 3)}</text></g>
        ))}
        {ticks(0, most, Math.max(2, Math.min(8, Math.floor(width / 90)))).filter((value) => Number.isInteger(value)).map((value) => (
          <text key={value} x={x(value)} y={HEIGHT - 6} text-anchor={value === 0 ? "start" : "middle"}>{number(value)}</text>
        ))}
        <path class="raw" d={path(line)} />
        <path class="main" d={path(smooth(line))} />
        <path class="second" d={path(dots)} />
        {dots.map((point) => <circle key={point.x} class="dot" cx={x(point.x)} cy={y(point.y)} r="3.5"><title>{`${number(point.x)}: ${number(point.y, 4)}`}</title></circle>)}
      </svg>
      <figcaption class="legend-row"><span class="legend-key main-key">{names.line}</span>{dots.length > 0 && <span class="legend-key second-key">{names.dots}</span>}<span class="hint">{names.x}</span></figcaption>
    </figure>
  );
}
