// Keeps what one reads where it is on the screen, whatever becomes of the lines above it.

const top = (row: Element, scroller: Element) => row.getBoundingClientRect().top - scroller.getBoundingClientRect().top;

/** Less than this nobody sees. */
const PIXEL = 0.5;

export class Place {
  #key = "";
  /** Where it is on the screen, and where among all rows. */
  #top = 0;
  #offset = 0;

  /** Remembers the first row in view, and where it is. */
  note(scroller: Element): void {
    const rows = [...scroller.querySelectorAll<HTMLElement>("[data-key]")];
    const row = rows.find((each) => top(each, scroller) >= 0);
    this.#key = row?.dataset.key ?? "";
    this.#top = row ? top(row, scroller) : 0;
    this.#offset = this.#top + scroller.scrollTop;
  }

  /** Scrolls to where that row is in its place again, if it has moved among the rows; else it was the reader who moved. */
  keep(scroller: Element): void {
    const row = scroller.querySelector(`[data-key="${CSS.escape(this.#key)}"]`);
    if (!row) return this.note(scroller); // another one counts from now on
    const offset = top(row, scroller) + scroller.scrollTop;
    if (Math.abs(offset - this.#offset) < PIXEL) return;
    scroller.scrollTop = offset - this.#top;
    this.#offset = offset;
  }
}
