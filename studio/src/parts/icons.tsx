// Small drawings beside words; never instead of a name.
import type { JSX } from "preact";

const paths = {
  plus: "M12 5v14M5 12h14",
  close: "M6 6l12 12M18 6L6 18",
  run: "M7 4.5v15l12-7.5z",
  stop: "M7 7h10v10H7z",
  undo: "M9 14L4 9l5-5M4 9h10a6 6 0 010 12h-3",
  code: "M8 7l-5 5 5 5M16 7l5 5-5 5",
  columns: "M4 5h16v14H4zM12 5v14",
  book: "M5 4h11a3 3 0 013 3v13H8a3 3 0 01-3-3zM5 17a3 3 0 013-3h11",
  edit: "M4 20h4L19 9l-4-4L4 16z",
  trash: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
  again: "M20 12a8 8 0 11-2.3-5.6M20 4v4h-4",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  download: "M12 4v11M7 11l5 5 5-5M4 20h16",
  upload: "M12 16V5M7 9l5-5 5 5M4 20h16",
  leave: "M14 4h5v16h-5M4 12h10M10 8l4 4-4 4",
  lock: "M6 11h12v9H6zM8.500 11V8a3.500 3.500 0 017 0v3",
  sliders: "M4 7h9M17 7h3M4 17h3M11 17h9M15 5v4M9 15v4",
  check: "M5 12l5 5L19 7",
} as const;
export type IconName = keyof typeof paths;

export function Icon({ name }: { name: IconName }): JSX.Element {
  return (
    <svg class="icon" viewBox="0 0 24 24" width="20" height="20" aria-hidden="true" focusable="false">
      <path d={paths[name]} />
    </svg>
  );
}

/** A drop that falls into water: 샘 is a spring. */
export function Mark(): JSX.Element {
  return (
    <svg class="mark" viewBox="0 0 32 32" width="28" height="28" aria-hidden="true" focusable="false">
      <path class="drop" d="M16 4c3.6 4.8 5.6 7.700 5.600 10.300a5.600 5.600 0 01-11.200 0C10.400 11.700 12.400 8.800 16 4z" />
      <path class="ring" d="M5 23.500c3-2.600 7-2.600 11 0s8 2.600 11 0" />
      <path class="ring far" d="M9 28c2.200-1.600 4.600-1.600 7 0s4.800 1.600 7 0" />
    </svg>
  );
}
