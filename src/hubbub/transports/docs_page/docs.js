// Shows openapi.json: each operation with its parameters, body and answers. All text goes in as text.

const METHODS = ["get", "put", "post", "delete"];

function element(name, text = "", ...children) {
  const made = document.createElement(name);
  made.append(...(text ? [text] : []), ...children);
  return made;
}

function resolve(spec, schema) {
  const name = schema.$ref?.split("/").pop();
  return name ? { title: name, ...spec.components.schemas[name] } : schema;
}

function typeOf(spec, given) {
  const schema = resolve(spec, given);
  const choices = schema.anyOf ?? schema.oneOf;
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" or ");
  if (choices && !schema.properties) return choices.map((choice) => typeOf(spec, choice)).join(" or ");
  if (schema.type === "array") return `list of ${typeOf(spec, schema.items ?? {})}`;
  return (given.$ref ? schema.title : schema.type) ?? "anything";
}

function boundsOf(schema) {
  const names = { minimum: "at least", maximum: "at most", minLength: "characters, at least", maxLength: "characters, at most", pattern: "matches", default: "default" };
  return Object.entries(names)
    .filter(([name]) => schema[name] !== undefined && schema[name] !== "")
    .map(([name, words]) => `${words} ${typeof schema[name] === "string" ? schema[name] : JSON.stringify(schema[name])}`)
    .join(", ");
}

function table(rows) {
  const body = element("tbody");
  for (const [name, type, text] of rows) {
    body.append(element("tr", "", element("th", "", element("code", name)), element("td", type), element("td", text)));
  }
  return element("table", "", body);
}

function rowsOf(spec, schema) {
  const required = new Set(schema.required ?? []);
  return Object.entries(schema.properties ?? {}).map(([name, property]) => {
    const text = [property.description, required.has(name) ? "required" : "", boundsOf(property)];
    return [name, typeOf(spec, property), text.filter(Boolean).join("; ")];
  });
}

function schemaView(spec, given) {
  const schema = resolve(spec, given);
  const view = element("div");
  if (schema.description) view.append(element("p", schema.description));
  if (schema.properties) view.append(table(rowsOf(spec, schema)));
  else if (schema.oneOf) view.append(element("p", "One of:"), ...schema.oneOf.map((choice) => schemaView(spec, choice)));
  else view.append(element("p", typeOf(spec, given)));
  return view;
}

function contentView(spec, content) {
  const [kind, { schema }] = Object.entries(content)[0];
  return element("div", "", element("p", "", element("code", kind)), schemaView(spec, schema));
}

function operationView(spec, path, shared, method, operation) {
  const heading = element("h2", "", element("code", `${method.toUpperCase()} ${path}`));
  const view = element("section", "", heading, element("p", operation.summary));
  view.id = operation.operationId;
  const parameters = [...shared, ...operation.parameters];
  if (parameters.length) {
    const rows = parameters.map((each) => {
      const text = [each.description, each.required ? "required" : "", boundsOf(each.schema)];
      return [each.name, `${each.in}: ${typeOf(spec, each.schema)}`, text.filter(Boolean).join("; ")];
    });
    view.append(element("h3", "Parameters"), table(rows));
  }
  if (operation.requestBody) view.append(element("h3", "Body"), contentView(spec, operation.requestBody.content));
  view.append(element("h3", "Answers"));
  const refused = [];
  for (const [status, response] of Object.entries(operation.responses)) {
    if (status >= "400") refused.push(status);
    else {
      view.append(element("p", "", element("code", status), ` ${response.description}`));
      if (response.content) view.append(contentView(spec, response.content));
    }
  }
  view.append(element("p", `Refused with ${refused.join(", ")}, as a problem (RFC 9457).`));
  return view;
}

async function show() {
  const answer = await fetch("openapi.json");
  if (!answer.ok) throw new Error(`openapi.json: ${answer.status}`);
  const spec = await answer.json();
  document.getElementById("title").textContent = `${spec.info.title} ${spec.info.version}: the HTTP API`;
  document.getElementById("about").textContent = spec.info.description;
  const list = element("ul");
  for (const [path, item] of Object.entries(spec.paths)) {
    for (const method of METHODS.filter((each) => item[each])) {
      const link = element("a", `${method.toUpperCase()} ${path}`);
      link.href = `#${item[method].operationId}`;
      list.append(element("li", "", link));
      document.getElementById("operations").append(operationView(spec, path, item.parameters ?? [], method, item[method]));
    }
  }
  document.getElementById("contents").append(list);
}

show().catch((error) => {
  document.getElementById("failure").textContent = `The API cannot be shown: ${error.message}`;
});
