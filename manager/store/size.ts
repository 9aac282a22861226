// How large an object is in the log, about and never too small: enough to keep a transaction within its bound without encoding
// everything twice.

const sizes = new WeakMap<object, number>();

/** Upper bound in bytes of a frozen message's encoding. Cached by object: parts that many objects share are looked at once. */
export function approximateBytes(value: object): number {
  const known = sizes.get(value);
  if (known !== undefined) return known;
  let bytes = 6;
  for (const [key, inner] of Object.entries(value)) bytes += bytesOf(key) + bytesOf(inner);
  if (Object.isFrozen(value)) sizes.set(value, bytes);
  return bytes;
}

function bytesOf(value: unknown): number {
  switch (typeof value) {
    case "string":
      return value === "" ? 0 : Buffer.byteLength(value) + 6;
    case "number":
      return value === 0 ? 0 : 12;
    case "boolean":
      return value ? 3 : 0;
    case "object":
      if (value === null) return 0;
      return ArrayBuffer.isView(value) ? value.byteLength + 8 : approximateBytes(value);
    default:
      return 0;
  }
}
