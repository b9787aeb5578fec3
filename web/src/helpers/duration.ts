/** A duration in ms, as a clock shows it: `1:05`, `26:00:00`; what is over is `0:00`. */
export function formatDuration(milliseconds: number): string {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  const [hours, ...rest] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const shown = hours ? [hours, ...rest] : rest;
  return shown.map((part, index) => (index ? String(part).padStart(2, "0") : part)).join(":");
}
