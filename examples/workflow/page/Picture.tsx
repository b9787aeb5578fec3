import { useRef, useState, type KeyboardEvent, type PointerEvent } from "react";
import type { Change, Flow } from "./flow";

const WIDTH = 140;
const HEIGHT = 52;
const ARROWS: Record<string, [number, number]> = { ArrowLeft: [-10, 0], ArrowRight: [10, 0], ArrowUp: [0, -10], ArrowDown: [0, 10] };

/** The workflow as a picture; with `onMove`, its nodes are moved by pointer and by arrow keys. */
export function Picture(props: {
  flow: Flow;
  /** What became of each node and edge, where two versions are compared. */
  changes?: Record<string, Change>;
  selected?: string | null;
  onSelect?(id: string): void;
  onMove?(id: string, x: number, y: number): void;
}) {
  const { flow, changes = {}, onMove } = props;
  const nodes = flow.nodes ?? {};
  const [drag, setDrag] = useState<{ id: string; dx: number; dy: number } | null>(null);
  const from = useRef({ x: 0, y: 0 });

  /** Where a node is, while it is dragged as well: it is moved in the document once, when it is let go. */
  const place = (id: string): { x: number; y: number } => {
    const { x = 0, y = 0 } = nodes[id] ?? {};
    return drag?.id === id ? { x: x + drag.dx, y: y + drag.dy } : { x, y };
  };
  const down = (id: string) => (event: PointerEvent<SVGGElement>) => {
    props.onSelect?.(id);
    if (!onMove) return;
    event.currentTarget.setPointerCapture(event.pointerId);
    from.current = { x: event.clientX, y: event.clientY };
    setDrag({ id, dx: 0, dy: 0 });
  };
  const move = (event: PointerEvent): void => {
    if (drag) setDrag({ ...drag, dx: event.clientX - from.current.x, dy: event.clientY - from.current.y });
  };
  const up = (): void => {
    if (drag && (drag.dx || drag.dy)) onMove?.(drag.id, Math.round(place(drag.id).x), Math.round(place(drag.id).y));
    setDrag(null);
  };
  const key = (id: string) => (event: KeyboardEvent) => {
    const [dx, dy] = ARROWS[event.key] ?? [0, 0];
    if (event.key === "Enter") props.onSelect?.(id);
    if (!dx && !dy) return;
    event.preventDefault();
    onMove?.(id, place(id).x + dx, place(id).y + dy);
  };

  return (
    <div className="picture" role="region" aria-label="Picture" tabIndex={0}>
      <svg width={Math.max(760, ...Object.keys(nodes).map((id) => place(id).x + WIDTH + 40))} height={420} onPointerMove={move} onPointerUp={up}>
        <defs>
          <marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerUnits="userSpaceOnUse" markerWidth="12" markerHeight="12" orient="auto">
            <path d="M0 0 L8 4 L0 8 Z" />
          </marker>
        </defs>
        {Object.entries(flow.edges ?? {}).map(([id, edge]) => {
          if (!nodes[edge.from] || !nodes[edge.to]) return null; // a node went in one version, an edge to it came in the other
          const [a, b] = [place(edge.from), place(edge.to)];
          const [x1, y1, x2, y2] = [a.x + WIDTH, a.y + HEIGHT / 2, b.x, b.y + HEIGHT / 2];
          const d = `M${x1} ${y1} C${x1 + 50} ${y1} ${x2 - 50} ${y2} ${x2} ${y2}`;
          return <path key={id} className="edge" data-change={changes[id]} d={d} markerEnd="url(#arrow)" />;
        })}
        {Object.entries(nodes).map(([id, { label }]) => (
          <g
            key={id}
            className="node"
            role="button"
            tabIndex={0}
            aria-label={`${label}${changes[id] && changes[id] !== "same" ? `, ${changes[id]}` : ""}`}
            aria-pressed={props.selected === id}
            data-id={id}
            data-change={changes[id]}
            transform={`translate(${place(id).x} ${place(id).y})`}
            onPointerDown={down(id)}
            onKeyDown={key(id)}
          >
            <rect width={WIDTH} height={HEIGHT} rx={10} />
            <text x={WIDTH / 2} y={HEIGHT / 2}>
              {label.length > 16 ? label.slice(0, 15) + "…" : label}
            </text>
          </g>
        ))}
      </svg>
    </div>
  );
}
