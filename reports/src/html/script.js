"use strict";
// Draws the crash maps from the columns in #marks, reads a mark out, and leads from it to its finding.
(() => {
  const root = document.documentElement;
  root.classList.add("scripts");

  const data = JSON.parse(document.getElementById("marks").textContent);
  const bytes = (text) => {
    const letters = atob(text), numbers = new Uint8Array(letters.length);
    for (let i = 0; i < letters.length; i++) numbers[i] = letters.charCodeAt(i);
    return numbers;
  };
  const words = (text) => new Uint32Array(bytes(text).buffer);
  const halves = (text) => new Uint16Array(bytes(text).buffer);
  const WHOLE = 0xffffffff;
  // Room left and right of the axis, as in the style sheet.
  const MARGIN = 7;
  // A shape's box is 10 wide; one that passed is drawn no wider than the room that its op has.
  const shapes = [...document.querySelectorAll(".shapes path")].map((path) => new Path2D(path.getAttribute("d")));
  const passes = (verdict) => ["not-judged", "recovered", "rolled-back"].includes(data.verdicts[verdict]);
  const shown = data.verdicts.map(() => true);

  class CrashMap {
    constructor(figure, columns) {
      this.figure = figure;
      this.canvas = figure.querySelector("canvas");
      this.ring = figure.querySelector(".ring");
      this.readout = figure.querySelector(".readout");
      this.columns = columns;
      for (const name of ["op", "torn_bytes"]) this[name] = words(columns[name]);
      for (const name of ["step", "target"]) this[name] = halves(columns[name]);
      for (const name of ["row", "lane", "shift", "verdict", "model", "wiped", "depth"]) this[name] = bytes(columns[name]);
      this.length = this.op.length;
      this.x = new Float32Array(this.length);
      this.y = new Float32Array(this.length);
      this.selected = -1;
      this.listen();
    }

    draw() {
      const { canvas, columns, length } = this;
      const width = canvas.clientWidth, height = canvas.clientHeight, ratio = devicePixelRatio || 1;
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      const context = canvas.getContext("2d");
      const style = getComputedStyle(root);
      const ink = (name) => style.getPropertyValue(`--${name}`).trim();
      const unit = (width - 2 * MARGIN) / (columns.last_op + 1), lane = columns.row_px / columns.lanes;
      for (let i = 0; i < length; i++) {
        this.x[i] = MARGIN + (this.op[i] + this.shift[i] / 256) * unit;
        this.y[i] = this.row[i] * columns.row_px + (this.lane[i] + 0.5) * lane;
      }
      context.scale(ratio, ratio);
      context.fillStyle = ink("line");
      for (let row = 1; row < columns.rows.length; row++) context.fillRect(0, row * columns.row_px, width, 0.5);
      const thin = Math.max(0.2, Math.min(1, width / length / 5));
      let drawn = 0;
      // Verdicts are in the order of badness, so that the worst lie above the others.
      data.verdicts.forEach((name, verdict) => {
        if (!shown[verdict]) return;
        context.fillStyle = ink(name);
        context.strokeStyle = ink("edge");
        context.lineWidth = 0.5;
        const wide = passes(verdict) ? thin : 1, high = passes(verdict) ? lane / 9 : 1.1;
        // Marks that fall on the same half pixel are one picture: a hundred thousand would else take seconds.
        const painted = new Int32Array(columns.rows.length * columns.lanes).fill(-1);
        for (let i = 0; i < length; i++) {
          if (this.verdict[i] !== verdict) continue;
          drawn++;
          const line = this.row[i] * columns.lanes + this.lane[i], place = Math.round(this.x[i] * 2);
          if (painted[line] === place) continue;
          painted[line] = place;
          context.setTransform(ratio * wide, 0, 0, ratio * high, this.x[i] * ratio, this.y[i] * ratio);
          context.fill(shapes[verdict], "evenodd");
          if (!passes(verdict)) context.stroke(shapes[verdict]);
        }
      });
      this.figure.dataset.drawn = drawn;
      if (this.selected >= 0) this.select(this.selected);
      return drawn;
    }

    /** The mark nearest to a place, a failure before a pass; -1 where none is near. */
    at(x, y) {
      let best = -1, least = 24 * 24;
      for (let i = 0; i < this.length; i++) {
        if (!shown[this.verdict[i]]) continue;
        const dx = this.x[i] - x, dy = (this.y[i] - y) * 1.5;
        const distance = dx * dx + dy * dy - (passes(this.verdict[i]) ? 0 : 25);
        if (distance < least) { least = distance; best = i; }
      }
      return best;
    }

    text(i) {
      const { columns } = this;
      const torn = this.torn_bytes[i], op = this.op[i];
      let place = `after op ${op}`;
      if (torn !== WHOLE) place = `inside op ${op + 1}` + (torn ? `, after ${torn} bytes` : "");
      if (this.depth[i]) place += ` of a resume (crash ${this.depth[i] + 1})`;
      const about = columns.rows[this.row[i]], step = columns.steps[this.step[i]];
      const parts = [data.verdicts[this.verdict[i]], `${place} (${data.models[this.model[i]]})`];
      if (about !== step) parts.push(about);
      parts.push(`step ${step}`);
      if (this.wiped[i]) parts.push("scratch wiped");
      return parts.join(" · ");
    }

    select(i) {
      this.selected = i;
      this.ring.hidden = i < 0;
      if (i < 0) return;
      this.ring.style.left = `${this.x[i]}px`;
      this.ring.style.top = `${this.y[i]}px`;
      this.readout.textContent = this.text(i);
      const id = data.targets[this.target[i] - 1];
      if (!id) return;
      const link = document.createElement("a");
      link.href = `#${id}`;
      link.textContent = "go to its finding";
      this.readout.append(" · ", link);
    }

    follow() {
      const id = this.selected < 0 ? undefined : data.targets[this.target[this.selected] - 1];
      if (id) goTo(id);
    }

    /** The next mark in a direction for which a condition holds. */
    next(step, fits) {
      const from = this.selected < 0 && step < 0 ? this.length : this.selected;
      for (let i = from + step; i >= 0 && i < this.length; i += step) {
        if (shown[this.verdict[i]] && fits(i)) return i;
      }
      return this.selected;
    }

    /** The nearest mark of the next row above or below that has one. */
    beside(step) {
      if (this.selected < 0) return this.next(1, () => true);
      const from = this.selected;
      for (let row = this.row[from] + step; row >= 0 && row < this.columns.rows.length; row += step) {
        let best = -1;
        for (let i = 0; i < this.length; i++) {
          const nearer = best < 0 || Math.abs(this.x[i] - this.x[from]) < Math.abs(this.x[best] - this.x[from]);
          if (this.row[i] === row && shown[this.verdict[i]] && nearer) best = i;
        }
        if (best >= 0) return best;
      }
      return from;
    }

    key(event) {
      if (event.ctrlKey || event.altKey || event.metaKey) return;
      const any = () => true, failed = (i) => !passes(this.verdict[i]);
      const moves = {
        ArrowRight: () => this.next(1, any), ArrowLeft: () => this.next(-1, any),
        ArrowDown: () => this.beside(1), ArrowUp: () => this.beside(-1),
        n: () => this.next(1, failed), p: () => this.next(-1, failed),
        Home: () => { this.selected = -1; return this.next(1, any); },
        End: () => { this.selected = this.length; return this.next(-1, any); },
      };
      if (event.key === "Enter") this.follow();
      else if (moves[event.key]) this.select(moves[event.key]());
      else return;
      event.preventDefault();
    }

    listen() {
      const { canvas } = this;
      const near = (event) => this.at(event.offsetX, event.offsetY);
      canvas.addEventListener("pointermove", (event) => {
        const i = event.pointerType === "touch" ? -1 : near(event);
        if (i >= 0) this.select(i);
      });
      canvas.addEventListener("click", (event) => {
        const i = near(event);
        if (i < 0) return;
        this.select(i);
        // A finger has not seen yet what it points at: the line below the map has the link.
        if (event.pointerType !== "touch") this.follow();
      });
      canvas.addEventListener("keydown", (event) => this.key(event));
    }
  }

  function goTo(id) {
    open(document.getElementById(id));
    if (location.hash === `#${id}`) document.getElementById(id).scrollIntoView();
    location.hash = id;
    document.getElementById(id).focus({ preventScroll: true });
  }

  /** What is folded away can't be gone to. */
  function open(element) {
    for (let fold = element?.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
  }

  const maps = [...document.querySelectorAll(".map")].map((figure, i) => new CrashMap(figure, data.maps[i]));
  const drawAll = () => { root.dataset.drawn = maps.reduce((sum, map) => sum + map.draw(), 0); };
  drawAll();

  let width = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; drawAll(); } });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  addEventListener("beforeprint", () => {
    root.dataset.print = "";
    for (const fold of document.querySelectorAll("details")) fold.open = true;
    drawAll();
  });
  addEventListener("afterprint", () => { delete root.dataset.print; drawAll(); });
  addEventListener("hashchange", () => open(document.getElementById(location.hash.slice(1))));

  for (const box of document.querySelectorAll(".legend input")) {
    box.checked = true;
    box.addEventListener("change", () => { shown[Number(box.dataset.verdict)] = box.checked; drawAll(); });
  }
  document.addEventListener("click", async (event) => {
    const button = event.target.closest(".copy");
    if (!button) return;
    const line = button.previousElementSibling;
    try {
      await navigator.clipboard.writeText(line.textContent);
      button.textContent = "Copied";
    } catch {
      // Where the clipboard is refused, the line is selected for the person to copy.
      getSelection().selectAllChildren(line);
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
})();
