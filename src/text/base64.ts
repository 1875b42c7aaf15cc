/** Base64 as the API server checks it (kube-openapi's `govalidator` IsBase64): padded, and not empty. */
export const isBase64 = (text: string): boolean =>
  text !== "" && /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(text);
