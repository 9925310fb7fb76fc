// XXH3-64 (seed 0, default secret), written from the published algorithm; BigInt arithmetic modulo 2^64.
const SECRET = Buffer.from(
  "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671fcb79e64eccc0e578825ad07dccff7221" +
  "b8084674f743248ee03590e6813a264c3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8" +
  "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364eac5ac8334d3ebc3c581a0fffa1363eb" +
  "170ddd51b7f0da49d316552629d4689e2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e", "hex");
const P32 = [0x9e3779b1n, 0x85ebca77n, 0xc2b2ae3dn];
const P64 = [0x9e3779b185ebca87n, 0xc2b2ae3d27d4eb4fn, 0x165667b19e3779f9n, 0x85ebca77c2b2ae63n, 0x27d4eb2f165667c5n];
const u64 = (x) => BigInt.asUintN(64, x);
const low = (x) => BigInt.asUintN(32, x);
const at = (bytes, i) => bytes.readBigUInt64LE(i);
const key = (i) => at(SECRET, i);
const shiftMix = (x, bits) => x ^ (x >> bits);
const fold = (a, b) => { const product = a * b; return u64(product) ^ (product >> 64n); };
const mix16 = (bytes, i, k) => fold(at(bytes, i) ^ key(k), at(bytes, i + 8) ^ key(k + 8));
const avalanche = (x) => shiftMix(u64(shiftMix(u64(x), 37n) * 0x165667919e3779f9n), 32n);
const avalanche64 = (x) => shiftMix(u64(shiftMix(u64(shiftMix(x, 33n) * P64[1]), 29n) * P64[2]), 32n);
const rotate = (x, bits) => u64(x << bits) | (x >> (64n - bits));

function small(bytes, size) {
  if (size === 0) return avalanche64(key(56) ^ key(64));
  if (size <= 3) {
    const packed = (BigInt(bytes[0]) << 16n) + (BigInt(bytes[size >> 1]) << 24n) + BigInt(bytes[size - 1]) + (BigInt(size) << 8n);
    return avalanche64(packed ^ low(key(0)) ^ (key(0) >> 32n));
  }
  if (size <= 8) {
    const both = BigInt(bytes.readUInt32LE(size - 4)) + (BigInt(bytes.readUInt32LE(0)) << 32n);
    let x = both ^ key(8) ^ key(16);
    x = u64((x ^ rotate(x, 49n) ^ rotate(x, 24n)) * 0x9fb21c651e98df25n);
    x = u64((x ^ ((x >> 35n) + BigInt(size))) * 0x9fb21c651e98df25n);
    return shiftMix(x, 28n);
  }
  const first = at(bytes, 0) ^ key(24) ^ key(32), last = at(bytes, size - 8) ^ key(40) ^ key(48);
  const swapped = Buffer.alloc(8);
  swapped.writeBigUInt64BE(first);
  return avalanche(BigInt(size) + at(swapped, 0) + last + fold(first, last));
}

function middle(bytes, size) {
  let sum = BigInt(size) * P64[0];
  if (size <= 128) {
    for (let i = 0; 32 * i < size; i += 1) sum += mix16(bytes, 16 * i, 32 * i) + mix16(bytes, size - 16 * (i + 1), 32 * i + 16);
    return avalanche(sum);
  }
  for (let i = 0; i < 8; i += 1) sum += mix16(bytes, 16 * i, 16 * i);
  sum = avalanche(sum);
  for (let i = 8; 16 * (i + 1) <= size; i += 1) sum += mix16(bytes, 16 * i, 16 * (i - 8) + 3);
  return avalanche(sum + mix16(bytes, size - 16, 136 - 17));
}

function large(bytes, size) {
  const acc = [P32[2], ...P64.slice(0, 4), P32[1], P64[4], P32[0]];
  const stripe = (start, k) => {
    for (let i = 0; i < 8; i += 1) {
      const word = at(bytes, start + 8 * i), keyed = word ^ key(k + 8 * i);
      acc[i ^ 1] = u64(acc[i ^ 1] + word);
      acc[i] = u64(acc[i] + low(keyed) * (keyed >> 32n));
    }
  };
  for (let n = 0, start = 0; start + 64 < size; n += 1, start += 64) {
    stripe(start, 8 * (n % 16));
    if (n % 16 === 15 && start + 64 < size)
      for (let i = 0; i < 8; i += 1) acc[i] = u64((shiftMix(acc[i], 47n) ^ key(128 + 8 * i)) * P32[0]);
  }
  stripe(size - 64, 192 - 64 - 7);
  let sum = BigInt(size) * P64[0];
  for (let i = 0; i < 4; i += 1) sum += fold(acc[2 * i] ^ key(11 + 16 * i), acc[2 * i + 1] ^ key(19 + 16 * i));
  return avalanche(sum);
}

export function xxh3(bytes) {
  const size = bytes.length, digest = Buffer.alloc(8);
  digest.writeBigUInt64BE(size <= 16 ? small(bytes, size) : size <= 240 ? middle(bytes, size) : large(bytes, size));
  return digest;
}
