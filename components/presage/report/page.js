"use strict";
// Draws every chart in the colours of the reader's scheme, and again when the scheme changes; searches long tables.
(() => {
  const darkScheme = matchMedia("(prefers-color-scheme: dark)");
  const finger = matchMedia("(pointer: coarse)");
  const darkColours = JSON.parse(document.getElementById("dark-colours").textContent);

  function inScheme(value, key) {
    if (Array.isArray(value)) return value.map((part) => inScheme(part, key));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, inScheme(part, name)]));
    }
    const isColour = typeof value === "string" && key.endsWith("color");
    return isColour && darkScheme.matches && Object.hasOwn(darkColours, value) ? darkColours[value] : value;
  }

  function draw() {
    for (const chart of document.querySelectorAll(".chart")) {
      const figure = inScheme(JSON.parse(document.getElementById(`${chart.id}-figure`).textContent), "");
      // A finger that drags over a chart wants to scroll the page.
      if (finger.matches) figure.layout.dragmode = false;
      figure.layout.autosize = true;
      Plotly.react(chart, figure.data, figure.layout, { displayModeBar: false, responsive: true });
    }
  }

  function search(field) {
    const wanted = field.value.trim().toLowerCase();
    for (const row of field.parentElement.querySelectorAll("tbody tr")) {
      row.hidden = !row.textContent.toLowerCase().includes(wanted);
    }
  }

  for (const field of document.querySelectorAll("input.search")) {
    field.addEventListener("input", () => search(field));
  }
  draw();
  darkScheme.addEventListener("change", draw);
})();
