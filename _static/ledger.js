// The ledger's filter: verdict, document, words. Without scripts the whole list shows.
document.addEventListener("DOMContentLoaded", () => {
  const ledger = document.querySelector(".an-ledger");
  if (!ledger) return;
  const claims = [...ledger.querySelectorAll(".an-claim")];
  const options = (name) => [...new Set(claims.flatMap((claim) =>
    name === "sources" ? claim.dataset.sources.split(" ")
      : [claim.dataset.verdict.replace(/ when .*/, " when")]))];
  const form = document.createElement("form");
  form.className = "an-filter";
  const add = (label, control) => {
    const field = document.createElement("label");
    field.append(label + " ", control);
    form.append(field);
    return control;
  };
  const choose = (label, name) => {
    const select = add(label, document.createElement("select"));
    for (const value of ["", ...options(name)]) select.add(new Option(value || "all", value));
    return select;
  };
  const verdict = choose("Verdict", "verdict");
  const source = choose("Document", "sources");
  const words = add("Words", Object.assign(document.createElement("input"), {type: "search"}));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", () => {
    for (const claim of claims) {
      claim.hidden = !(claim.dataset.verdict.includes(verdict.value)
        && (!source.value || claim.dataset.sources.split(" ").includes(source.value))
        && claim.textContent.toLowerCase().includes(words.value.toLowerCase()));
    }
  });
  ledger.before(form);
  const target = location.hash && document.querySelector(location.hash);
  if (target) target.open = true;
});
