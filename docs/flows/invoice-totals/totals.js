// Totals of invoices. Amounts are added as whole cents: binary fractions would lose some of them.
import { readFileSync } from 'node:fs';

const { invoices, currency, rates } = JSON.parse(readFileSync(0, 'utf8'));

function rateOf(invoice) {
  const rate = invoice.currency === currency ? 1 : rates[invoice.currency];
  if (!(rate > 0)) throw new Error(`invoice ${invoice.number}: there is no rate from ${invoice.currency} to ${currency}`);
  return rate;
}

function centsOf(invoice) {
  return invoice.items.reduce((sum, item) => sum + Math.round(item.quantity * item.price * 100), 0);
}

try {
  const rows = invoices.map((invoice) => {
    const cents = centsOf(invoice);
    return {
      number: invoice.number, currency: invoice.currency, total: cents / 100,
      converted: Math.round(cents * rateOf(invoice)) / 100,
    };
  });
  const total = rows.reduce((sum, row) => sum + Math.round(row.converted * 100), 0) / 100;
  console.log(JSON.stringify({ currency, total, invoices: rows }));
} catch (error) {
  console.error(error.message);
  process.exit(1);
}
