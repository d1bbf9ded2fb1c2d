-- Each query returns no row, on every supported database, whatever has happened.

-- One winner per order, and it is the one that the order names.
SELECT o.id FROM orders o JOIN payments p ON p.order_seq = o.seq AND p.winner_of IS NOT NULL
 GROUP BY o.id, o.winner HAVING COUNT(*) > 1 OR MIN(p.id) <> o.winner;

-- Paid orders have a winner, others have none.
SELECT o.id FROM orders o LEFT JOIN payments p ON p.winner_of = o.seq
 WHERE (o.status IN ('PAID', 'PARTIALLY_REFUNDED', 'REFUNDED')) <> (p.id IS NOT NULL);

-- A success that does not win is surplus or does not fit.
SELECT p.id FROM payments p WHERE p.status = 'SUCCEEDED' AND p.winner_of IS NULL AND NOT p.surplus AND NOT p.mismatch;

-- Amounts and currencies are equal unless people have to decide.
SELECT p.id FROM payments p WHERE p.status = 'SUCCEEDED' AND NOT p.mismatch
   AND (p.paid <> p.amount_minor OR p.paid_currency <> p.currency);

-- The counters equal their rows.
SELECT p.id FROM payments p LEFT JOIN refunds r ON r.payment_id = p.id
 GROUP BY p.id, p.refunded, p.refund_reserved
HAVING p.refunded <> COALESCE(SUM(CASE WHEN r.status = 'SUCCEEDED' THEN r.amount_minor ELSE 0 END), 0)
    OR p.refund_reserved <> COALESCE(SUM(CASE WHEN r.status IN ('REQUESTED', 'PROCESSING', 'UNKNOWN') THEN r.amount_minor ELSE 0 END), 0);

-- Never more back than came.
SELECT p.id FROM payments p WHERE p.refunded + p.refund_reserved > p.paid;

-- Every surplus has its refund.
SELECT p.id FROM payments p WHERE p.surplus AND NOT EXISTS (SELECT 1 FROM refunds r WHERE r.payment_id = p.id);

-- Everything undecided is looked at again.
SELECT p.id FROM payments p WHERE p.status IN ('CREATED', 'UNKNOWN', 'PENDING') AND p.next_at IS NULL;
SELECT r.id FROM refunds r WHERE r.status IN ('REQUESTED', 'PROCESSING', 'UNKNOWN') AND r.next_at IS NULL;
SELECT o.id FROM orders o WHERE o.status IN ('PENDING_PAYMENT', 'PAYING') AND o.next_at IS NULL
   AND NOT EXISTS (SELECT 1 FROM payments p WHERE p.order_seq = o.seq AND p.mismatch);

-- The versions of an order's events have no gap, and the last one is the order's.
SELECT o.id FROM orders o LEFT JOIN events e ON e.order_seq = o.seq
 GROUP BY o.id, o.version HAVING COUNT(e.seq) <> o.version OR MAX(e.version) <> o.version OR MIN(e.version) <> 1;

-- One outcome per key, and it names what it made.
SELECT c.subject FROM operations c GROUP BY c.subject, c.idempotency_key HAVING COUNT(*) > 1;
SELECT c.seq FROM operations c LEFT JOIN orders o ON o.id = c.order_id WHERE o.id IS NULL;
SELECT c.seq FROM operations c LEFT JOIN payments p ON p.id = c.payment_id WHERE c.payment_id IS NOT NULL AND p.id IS NULL;
SELECT c.seq FROM operations c LEFT JOIN refunds r ON r.id = c.refund_id WHERE c.refund_id IS NOT NULL AND r.id IS NULL;

-- The live attempt is the order's, and open.
SELECT o.id FROM orders o LEFT JOIN payments p ON p.id = o.open_payment
 WHERE o.status = 'PAYING' AND (p.id IS NULL OR p.order_seq <> o.seq OR p.status NOT IN ('CREATED', 'UNKNOWN', 'PENDING'));

-- Each notification once.
SELECT n.notification_id FROM notifications n GROUP BY n.gateway, n.notification_id HAVING COUNT(*) > 1;
