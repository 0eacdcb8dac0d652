// A click on a heading sorts the table: ascending, descending, then in the original order.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0], original = [...body.rows];
  const key = (row, column) => row.cells[column].dataset.value ?? row.cells[column].textContent;
  heads.forEach((head, column) => {
    const numeric = head.classList.contains("number");
    const button = document.createElement("button");
    button.type = "button";
    button.title = head.title;
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const was = head.getAttribute("aria-sort");
      const sign = was === "ascending" ? -1 : 1;
      for (const other of heads) other.removeAttribute("aria-sort");
      if (was === "descending") return body.append(...original);
      head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      const compare = (a, b) => {
        const x = key(a, column), y = key(b, column);
        if (!numeric) return sign * x.localeCompare(y, undefined, { numeric: true });
        if (x === "" || y === "") return (x === "") - (y === "");  // cells without a number come last
        return sign * (x === y ? 0 : Number(x) < Number(y) ? -1 : 1);
      };
      body.append(...[...original].sort(compare));
    });
  });
}
// Print the content of all <details>.
addEventListener("beforeprint", () => {
  for (const fold of document.querySelectorAll("details")) fold.open = true;
});
