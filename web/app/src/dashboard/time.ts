// Times of day, as the reader's clock has them.
const TIME = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const MINUTE = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });

/** 14:03:22, of unix time in seconds. */
export const timeOf = (seconds: number): string => TIME.format(seconds * 1000);

/** 14:03, or with seconds where minutes do not tell apart what stands side by side. */
export const tickOf = (seconds: number, step: number): string => (step < 60 ? TIME : MINUTE).format(seconds * 1000);
