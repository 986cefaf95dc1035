// Sorting, filtering and choosing columns of tables that are complete without it. What a reader chose stands in the
// address (#sort=oscr:desc&kind=measured&show=oscr,auroc); every key and value of it must be one that the page has.
"use strict";
(function () {
  const MARKS = { ascending: "▲", descending: "▼", "": "↕" };
  const LONGEST = 80;
  const DASHES = ["", "6 3", "2 2", "8 3 2 3", "1 3", "10 4", "4 1", "12 3 3 3"]; // as svg.py has them

  function element(tag, text, hiddenFromReaders) {
    const made = document.createElement(tag);
    made.textContent = text;
    if (hiddenFromReaders) made.setAttribute("aria-hidden", "true");
    return made;
  }

  function heads(table) {
    return Array.from(table.tHead.rows[0].cells);
  }

  // One table: its heads, and its rows with the values they are sorted by, read once.
  function opened(table) {
    const cells = heads(table);
    const bodies = Array.from(table.tBodies).map(function (body) {
      const rows = Array.from(body.rows).filter((row) => !row.classList.contains("section"));
      return { body: body, rows: rows };
    });
    const pinned = new Set(table.querySelectorAll('tr[data-kind="trivial"]'));
    const view = { table: table, id: table.id, cells: cells, bodies: bodies, pinned: pinned };
    return Object.assign(view, { values: new Map(), sort: null, buttons: [] });
  }

  function columnValues(view, place) {
    if (!view.values.has(place)) {
      const numeric = view.cells[place].classList.contains("n");
      const found = new Map();
      view.bodies.forEach(({ rows }) => rows.forEach(function (row) {
        const cell = row.children[place];
        const raw = numeric ? cell.getAttribute("data-v") || "" : cell.textContent.trim();
        const none = raw === "" || raw === "–";
        found.set(row, none ? null : numeric ? Number(raw) : raw.toLowerCase());
      }));
      view.values.set(place, found);
    }
    return view.values.get(place);
  }

  // Rows of a body into an order. `moveBefore` keeps what a browser knows of a row's layout, so that a thousand rows take
  // a tenth of the time; browsers without it insert them anew.
  function moveRows(body, ordered) {
    const move = (body.moveBefore || body.insertBefore).bind(body);
    let at = Array.from(body.rows).find((row) => !row.classList.contains("section")) || null;
    ordered.forEach(function (row) {
      if (row === at) at = at.nextElementSibling;
      else move(row, at);
    });
  }

  // Rows stay in their section and constant rows on top; rows without a value come last either way; ties keep the
  // order in which the table was published.
  function sortRows(view) {
    const place = view.sort ? view.cells.findIndex((cell) => cell.dataset.key === view.sort.key) : -1;
    const values = place < 0 ? null : columnValues(view, place);
    const sign = view.sort && view.sort.order === "descending" ? -1 : 1;
    view.bodies.forEach(function ({ body, rows }) {
      const pairs = rows.map((row) => [row, values && !view.pinned.has(row) ? values.get(row) : null]);
      if (values) {
        const pinned = pairs.filter(([row]) => view.pinned.has(row));
        const others = pairs.filter(([row]) => !view.pinned.has(row));
        others.sort(function ([, x], [, y]) {
          if (x === null || y === null) return (x === null) - (y === null);
          return x < y ? -sign : x > y ? sign : 0;
        });
        pairs.splice(0, pairs.length, ...pinned, ...others);
      }
      moveRows(body, pairs.map(([row]) => row));
    });
    view.cells.forEach(function (cell, k) {
      const order = k === place ? view.sort.order : "";
      if (order) cell.setAttribute("aria-sort", order);
      else cell.removeAttribute("aria-sort");
      if (view.buttons[k]) view.buttons[k].lastChild.textContent = " " + MARKS[order];
    });
  }

  function firstOrder(cell) {
    return cell.classList.contains("n") && cell.dataset.better !== "lower" ? "descending" : "ascending";
  }

  // Better values first, then the other way, then as published.
  function nextSort(view, cell) {
    const key = cell.dataset.key, first = firstOrder(cell);
    if (!view.sort || view.sort.key !== key) return { key: key, order: first };
    const second = first === "descending" ? "ascending" : "descending";
    return view.sort.order === first ? { key: key, order: second } : null;
  }

  function addButtons(view, changed) {
    view.cells.forEach(function (cell) {
      const button = element("button", "");
      button.type = "button";
      button.append(element("span", cell.textContent), element("span", " " + MARKS[""], true));
      button.addEventListener("click", function () {
        view.sort = nextSort(view, cell);
        changed();
      });
      cell.textContent = "";
      cell.appendChild(button);
      view.buttons.push(button);
    });
  }

  function defaultColumns(view) {
    return view.cells.filter((cell) => !("extra" in cell.dataset)).map((cell) => cell.dataset.key);
  }

  function showColumns(view, keys) {
    const wanted = new Set(keys);
    const hidden = view.cells.map((cell, k) => k > 0 && !wanted.has(cell.dataset.key));
    const same = view.hidden && view.hidden.every((value, k) => value === hidden[k]);
    if (same) return;
    const before = view.hidden || hidden.map(() => false);
    const changed = hidden.map((value, k) => k).filter((k) => hidden[k] !== before[k]);
    view.hidden = hidden;
    changed.forEach((k) => { view.cells[k].hidden = hidden[k]; });
    view.bodies.forEach(({ rows }) => rows.forEach(function (row) {
      changed.forEach((k) => { row.cells[k].hidden = hidden[k]; });
    }));
    const span = hidden.filter((value) => !value).length;
    view.table.querySelectorAll("tr.section th").forEach((cell) => { cell.colSpan = span; });
  }

  function filterRows(view, query, chosen) {
    const words = query.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    view.bodies.forEach(function ({ body, rows }) {
      let here = 0;
      rows.forEach(function (row) {
        const fits = chosen.every(([name, value]) => row.dataset[name] === value);
        const name = words.length ? row.cells[0].textContent.toLowerCase() : "";
        row.hidden = !(fits && words.every((word) => name.includes(word)));
        here += !row.hidden;
      });
      body.hidden = here === 0;
      count += here;
    });
    return count;
  }

  function readHash() {
    return new URLSearchParams(location.hash.slice(1));
  }

  function sortKey(view) {
    return view.form ? "sort" : view.id + "-sort";
  }

  function parsedSort(view, text) {
    const [key, order] = (text || "").split(":");
    const orders = { asc: "ascending", desc: "descending" };
    const known = view.cells.some((cell) => cell.dataset.key === key);
    return known && Object.hasOwn(orders, order) ? { key: key, order: orders[order] } : null;
  }

  // The view that the address asks for; what the page does not have is left out.
  function apply(view, hash) {
    view.sort = parsedSort(view, hash.get(sortKey(view)));
    sortRows(view);
    if (!view.form) return;
    view.form.elements.q.value = (hash.get("q") || "").slice(0, LONGEST);
    selects(view).forEach(function (select) {
      const wanted = hash.get(select.name) || "";
      select.value = Array.from(select.options).some((option) => option.value === wanted) ? wanted : "";
    });
    const known = new Set(view.cells.map((cell) => cell.dataset.key));
    const asked = hash.has("show") ? hash.get("show").split(",").filter((key) => known.has(key)) : defaultColumns(view);
    boxes(view).forEach((box) => { box.checked = asked.includes(box.value); });
    const models = (hash.get("models") || "").split(",");
    boxes(view, "models").forEach((box) => { box.checked = models.includes(box.value); });
    refresh(view);
  }

  function selects(view) {
    return Array.from(view.form.querySelectorAll("select"));
  }

  function boxes(view, kind) {
    return Array.from(view.form.querySelectorAll("fieldset[data-" + (kind || "columns") + "] input"));
  }

  // A box for each row of the board that has a curve, under the name that the row has there.
  function addModels(view, set) {
    if (!set) return;
    const drawn = new Set(Array.from(document.querySelectorAll("svg[data-first] [data-row]"), (one) => one.dataset.row));
    view.bodies.forEach(({ rows }) => rows.forEach(function (row) {
      if (!drawn.has(row.dataset.row)) return;
      const label = document.createElement("label"), box = document.createElement("input");
      box.type = "checkbox";
      box.value = row.dataset.row;
      label.append(box, element("span", row.cells[0].textContent));
      set.appendChild(label);
    }));
    document.querySelectorAll("p.follows").forEach((one) => { one.hidden = false; });
  }

  // Curves of the rows that the board shows: those whose box is checked, or where none is the first few.
  function drawCurves(view) {
    const chosen = new Set(boxes(view, "models").filter((box) => box.checked).map((box) => box.value));
    const shown = new Set();
    view.bodies.forEach(({ rows }) => rows.forEach((row) => { if (!row.hidden) shown.add(row.dataset.row); }));
    const figures = Array.from(document.querySelectorAll("svg[data-first]"), function (figure) {
      const keys = Array.from(figure.querySelectorAll("g[data-row]"), (one) => one.dataset.row);
      const fits = keys.filter((key) => shown.has(key) && (chosen.size === 0 || chosen.has(key)));
      return { figure, drawn: chosen.size ? fits : fits.slice(0, Number(figure.dataset.most)) };
    });
    // a model looks the same in every figure, as long as there are looks for all of them
    const every = Array.from(new Set(figures.flatMap(({ drawn }) => drawn)));
    figures.forEach(function ({ figure, drawn }) {
      const looks = every.length <= DASHES.length ? every : drawn;
      const first = Number(figure.dataset.first), line = Number(figure.dataset.line);
      figure.querySelectorAll("[data-row]").forEach(function (one) {
        const place = drawn.indexOf(one.dataset.row);
        if (place < 0) return one.setAttribute("display", "none");
        one.removeAttribute("display");
        if (one.tagName === "g") one.setAttribute("transform", "translate(0 " + (first + place * line) + ")");
        const stroke = one.tagName === "g" ? one.firstChild : one;
        const look = looks.indexOf(one.dataset.row) % DASHES.length;
        stroke.setAttribute("class", "s" + look);
        stroke.setAttribute("stroke-dasharray", DASHES[look] || "none");
      });
      const height = first + drawn.length * line;
      figure.setAttribute("viewBox", "0 0 " + figure.getAttribute("width") + " " + height);
      figure.setAttribute("height", height);
      const numbers = figure.parentNode.querySelectorAll("tr[data-row]");
      numbers.forEach((row) => { row.hidden = !drawn.includes(row.dataset.row); });
    });
  }

  function refresh(view) {
    const chosen = selects(view).filter((select) => select.value).map((select) => [select.name, select.value]);
    const count = filterRows(view, view.form.elements.q.value, chosen);
    showColumns(view, boxes(view).filter((box) => box.checked).map((box) => box.value));
    view.count = count;
    drawCurves(view);
  }

  function announce(view) {
    const status = document.querySelector("p.status");
    if (!status) return;
    const title = view.sort && view.cells.find((cell) => cell.dataset.key === view.sort.key);
    const order = title ? "Sorted by " + title.querySelector("span").textContent + ", " + view.sort.order : "Order as published";
    status.textContent = order + (view.form ? "; " + view.count + (view.count === 1 ? " row" : " rows") : "");
  }

  function written(views) {
    const hash = new URLSearchParams();
    views.forEach(function (view) {
      if (view.sort) hash.set(sortKey(view), view.sort.key + ":" + (view.sort.order === "ascending" ? "asc" : "desc"));
      if (!view.form) return;
      if (view.form.elements.q.value) hash.set("q", view.form.elements.q.value);
      selects(view).forEach((select) => { if (select.value) hash.set(select.name, select.value); });
      const shown = boxes(view).filter((box) => box.checked).map((box) => box.value);
      const usual = defaultColumns(view).slice(1);
      if (shown.join() !== usual.join()) hash.set("show", shown.join());
      const models = boxes(view, "models").filter((box) => box.checked).map((box) => box.value);
      if (models.length) hash.set("models", models.join());
    });
    return hash.toString().replace(/%3A/g, ":").replace(/%2C/g, ",");
  }

  function addTools(view, form, changed) {
    view.form = form;
    const set = form.querySelector("fieldset[data-columns]");
    view.cells.slice(1).forEach(function (cell) {
      const label = document.createElement("label"), box = document.createElement("input");
      box.type = "checkbox";
      box.value = cell.dataset.key;
      label.append(box, element("span", cell.querySelector("span").textContent));
      set.appendChild(label);
    });
    addModels(view, form.querySelector("fieldset[data-models]"));
    form.addEventListener("input", function () { refresh(view); changed(); });
    form.addEventListener("submit", (event) => event.preventDefault());
    form.elements.reset.addEventListener("click", function () { apply(view, new URLSearchParams()); changed(); });
    form.hidden = false;
  }

  function start() {
    const views = Array.from(document.querySelectorAll("table[data-sortable]")).map(opened);
    let own = null, waiting = 0;
    views.forEach(function (view) {
      function keep() {
        own = written(views);
        announce(view);
        window.clearTimeout(waiting);
        // a browser lays the page out before it changes the address: rows are moved and painted first
        waiting = window.setTimeout(function () {
          history.replaceState(null, "", own ? "#" + own : location.pathname + location.search);
        }, 0);
      }
      addButtons(view, function () { sortRows(view); keep(); });
      const form = document.querySelector('form[data-for="' + view.id + '"]');
      if (form) addTools(view, form, keep);
    });
    views.forEach((view) => apply(view, readHash()));
    window.addEventListener("hashchange", function () {
      if (location.hash.slice(1) !== own) views.forEach((view) => apply(view, readHash()));
    });
  }

  start();
})();
