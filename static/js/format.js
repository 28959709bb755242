// Numbers and times for people.

let skew = 0;

/** Sets our clock by the server's, whose times we show. */
export function setClock(serverMillis) {
  const difference = serverMillis - Date.now();
  // The header has whole seconds: smaller differences mean nothing.
  skew = Math.abs(difference) < 2000 ? 0 : difference;
}

export const now = () => Date.now() + skew;

/** `12 s`, `4 min`, `3 h 10 min`, `2 d 4 h` */
export function duration(millis) {
  const seconds = Math.max(0, Math.round(millis / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return minutes < 10 && seconds % 60 ? `${minutes} min ${seconds % 60} s` : `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  const days = Math.floor(hours / 24);
  return hours % 24 && days < 30 ? `${days} d ${hours % 24} h` : `${days} d`;
}

const number = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });
export const count = (value) => number.format(value);

/** Megabytes as `960 MB`, `3.75 GB`, `1.2 TB` */
export function megabytes(value) {
  for (const [unit, size] of [["TB", 1024 * 1024], ["GB", 1024]]) {
    if (value >= size) return [count(value / size), unit];
  }
  return [count(value), "MB"];
}

/** Bytes as `512 B`, `1.5 kB`, `20 MB` */
export function bytes(value) {
  if (value < 1024) return `${count(value)} B`;
  return value < 1 << 20 ? `${count(Math.round(value / 102.4) / 10)} kB` : `${count(Math.round(value / 104857.6) / 10)} MB`;
}

/** A share of something as `12 %`; a share of nothing is none. */
export const percent = (part, whole) => (whole > 0 ? `${Math.round((100 * part) / whole)} %` : "–");

export const absolute = (millis) =>
  new Date(millis).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });

export const plural = (amount, one, many = `${one}s`) => `${count(amount)} ${amount === 1 ? one : many}`;
