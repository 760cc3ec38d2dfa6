// Rows to orders: each value is checked, and a bad row says what is wrong with it.
import { readFileSync } from 'node:fs';

const rows = JSON.parse(readFileSync(0, 'utf8'));
const seen = new Set();

function faultsOf(row) {
  const faults = [];
  if (!/^[A-Z]-\d{1,6}$/.test(row.id ?? '')) faults.push(`id "${row.id ?? ''}" is not of the form A-123`);
  else if (seen.has(row.id)) faults.push(`id ${row.id} was there before`);
  if (!/^[^@\s]+@[^@\s]+\.[a-z]{2,}$/.test(row.email)) faults.push(`"${row.email}" is no e-mail address`);
  if (!/^[1-9]\d{0,5}$/.test(row.quantity ?? '')) faults.push(`quantity "${row.quantity ?? ''}" is not a count`);
  if (!/^\d+(\.\d{1,2})?$/.test(row.price)) faults.push(`price "${row.price}" is not an amount`);
  if (row.more) faults.push('more values than columns');
  return faults;
}

const good = [];
const bad = [];
for (const row of rows) {
  const faults = faultsOf(row);
  seen.add(row.id);
  if (faults.length) bad.push({ line: row.line, faults });
  else good.push({ id: row.id, email: row.email, quantity: Number(row.quantity), price: Number(row.price) });
}
console.log(JSON.stringify({ rows: rows.length, quality: rows.length ? good.length / rows.length : 0, good, bad }));
