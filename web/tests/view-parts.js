/** The names of the controls of a view, and its texts. A component counts with what it is given: it is not drawn. */
export function partsOf(node, parts = { ids: [], text: '' }) {
  if (Array.isArray(node)) node.forEach((child) => partsOf(child, parts));
  else if (typeof node === 'string') parts.text += node;
  else if (node?.props) {
    for (const id of [node.props['data-testid'], node.props.testid]) if (id) parts.ids.push(id);
    if (node.props.title) parts.text += `${node.props.title} `;
    partsOf(node.props.children, parts);
  }
  return parts;
}
