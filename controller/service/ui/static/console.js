// The console's one script. Pages work without it; it only adds comfort.
"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  let paused = false;

  // The slider moves a line through the pictures and reads that row of the table aloud.
  const look = (slider) => {
    const figure = slider.closest("[data-history]");
    const rows = figure.querySelectorAll("tbody tr");
    const row = rows[Number(slider.value)];
    if (!row) return;
    for (const other of rows) other.classList.toggle("here", other === row);
    const places = { difference: row.dataset.f, strength: row.dataset.g };
    for (const [kind, along] of Object.entries(places)) {
      for (const chart of figure.querySelectorAll(`.chart.${kind}`)) {
        const [left, right] = [Number(chart.dataset.left), Number(chart.dataset.right)];
        const cursor = chart.querySelector(".cursor");
        cursor.setAttribute("transform", `translate(${left + along * (right - left)} 0)`);
        cursor.setAttribute("visibility", "visible");
      }
    }
    const heads = [...figure.querySelectorAll("thead th")].map((head) => head.textContent);
    const cells = [...row.children].map((cell, index) => [heads[index], cell.textContent]);
    const known = cells.filter(([, text]) => text !== "–").map((cell) => cell.join(" "));
    const output = figure.querySelector("output");
    if (output.textContent !== known.join(" · ")) output.textContent = known.join(" · ");
  };

  // The look somebody chose, by slider: a swap brings new rows, and the chosen one stays chosen.
  const chosen = new Map();

  const prepare = () => {
    for (const holder of document.querySelectorAll(".scrubber")) {
      holder.hidden = false;
      const slider = holder.querySelector("input");
      const rows = [...slider.closest("[data-history]").querySelectorAll("tbody tr")];
      const wanted = chosen.get(slider.id);
      const place = rows.findLastIndex((row) => Number(row.dataset.look) <= wanted);
      slider.value = wanted === undefined ? slider.max : Math.max(0, place);
      if (wanted !== undefined) look(slider);
    }
  };

  document.addEventListener("input", (event) => {
    const slider = event.target;
    if (slider.type !== "range") return;
    const row = slider.closest("[data-history]").querySelectorAll("tbody tr")[slider.value];
    chosen.set(slider.id, Number(row.dataset.look));
    look(slider);
  });

  // Live updates stop while the page is hidden, and while somebody asks them to.
  const say = (text) => {
    const place = byId("live-state");
    if (place && place.textContent !== text) place.textContent = text;
  };
  document.addEventListener("htmx:before:request", (event) => {
    if (paused || document.hidden) event.preventDefault();
  });
  document.addEventListener("htmx:after:swap", () => {
    say("");
    prepare();
  });
  for (const name of ["htmx:response:error", "htmx:error"]) {
    document.addEventListener(name, () => say("No answer from the service; what you see may be old."));
  }
  document.addEventListener("click", (event) => {
    const toggle = event.target.closest("#live-toggle");
    if (toggle) {
      paused = !paused;
      toggle.setAttribute("aria-pressed", String(paused));
      toggle.textContent = paused ? "Resume live updates" : "Pause live updates";
      say(paused ? "Paused: what you see does not change." : "");
    }
    const copy = event.target.closest("[data-copy]");
    if (copy) {
      navigator.clipboard.writeText(byId(copy.dataset.copy).textContent).then(() => {
        copy.textContent = "Copied";
      });
    }
    if (event.target.closest('[aria-disabled="true"]')) event.preventDefault();
  });
  // A form is sent once, however often its button is pressed.
  document.addEventListener("submit", (event) => {
    if (event.target.dataset.sent) event.preventDefault();
    event.target.dataset.sent = "yes";
  });
  addEventListener("pageshow", (event) => {
    if (!event.persisted) return;
    for (const form of document.forms) delete form.dataset.sent;
  });

  for (const place of document.querySelectorAll(".live-control, [data-copy]")) place.hidden = false;
  prepare();
})();
