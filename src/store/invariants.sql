-- What must hold whatever has happened: each query returns no row, on every supported database.
-- A query is headed by its name and its promise. `deep`: asked by `payonce doctor --deep` alone, for it reads whole
-- tables. `postgres`: there is no such thing elsewhere. `:among(x)` is true of every order's seq, or of those
-- that have changed lately. Moments: :lease_over by the database's clock, :five_minutes_ago and :two_days_ago by ours.

-- one_winner: An order has one winner at most, and it is the one that the order names.
SELECT o.id FROM orders o JOIN payments p ON p.order_seq = o.seq AND p.winner_of IS NOT NULL
 WHERE :among(o.seq) GROUP BY o.id, o.winner HAVING COUNT(*) > 1 OR o.winner IS NULL OR MIN(p.id) <> o.winner;

-- paid_by_winner: Paid orders have a winner, which succeeded and fits; others have none.
SELECT o.id FROM orders o LEFT JOIN payments p ON p.winner_of = o.seq
 WHERE :among(o.seq) AND ((o.status IN ('PAID', 'PARTIALLY_REFUNDED', 'REFUNDED')) <> (p.id IS NOT NULL)
    OR p.status <> 'SUCCEEDED' OR p.surplus OR p.mismatch);

-- winner_pays_total: The winner brought what the order costs.
SELECT o.id FROM orders o JOIN payments p ON p.winner_of = o.seq
 WHERE :among(o.seq) AND (p.paid <> o.total_minor OR p.paid_currency <> o.currency);

-- success_has_a_place: A success that does not win is surplus or does not fit.
SELECT p.id FROM payments p WHERE :among(p.order_seq)
   AND p.status = 'SUCCEEDED' AND p.winner_of IS NULL AND NOT p.surplus AND NOT p.mismatch;

-- amounts_agree: What arrived is what was asked for, unless people have to decide.
SELECT p.id FROM payments p WHERE :among(p.order_seq) AND p.status = 'SUCCEEDED' AND NOT p.mismatch
   AND (p.paid <> p.amount_minor OR p.paid_currency <> p.currency);

-- verified_success: A success has its evidence, and nothing else has money.
SELECT p.id FROM payments p WHERE :among(p.order_seq) AND ((p.status = 'SUCCEEDED') <> (p.paid > 0)
    OR (p.status = 'SUCCEEDED'
        AND (p.gateway_transaction_id IS NULL OR p.paid_currency IS NULL OR p.state_at IS NULL)));

-- success_is_final: Every success that was ever told is still one.
SELECT o.id FROM orders o WHERE :among(o.seq)
   AND (SELECT COUNT(*) FROM payments p WHERE p.order_seq = o.seq AND p.status = 'SUCCEEDED')
    <> (SELECT COUNT(*) FROM events e WHERE e.order_seq = o.seq
           AND e.type IN ('order.paid', 'payment.surplus', 'payment.mismatch'));

-- payment_after_intent: Every payment was recorded before its gateway was asked.
SELECT o.id FROM orders o WHERE :among(o.seq)
   AND (SELECT COUNT(*) FROM payments p WHERE p.order_seq = o.seq)
    <> (SELECT COUNT(*) FROM events e WHERE e.order_seq = o.seq AND e.type = 'payment.created');

-- refund_after_intent: Every refund of ours was recorded before its gateway was asked.
SELECT o.id FROM orders o WHERE :among(o.seq)
   AND (SELECT COUNT(*) FROM refunds r WHERE r.order_seq = o.seq AND r.reason <> 'OUTSIDE')
    <> (SELECT COUNT(*) FROM events e WHERE e.order_seq = o.seq AND e.type = 'refund.requested');

-- refund_counters: What is reserved and given back of a payment equals its refunds.
SELECT p.id FROM payments p LEFT JOIN refunds r ON r.payment_id = p.id
 WHERE :among(p.order_seq) GROUP BY p.id, p.refunded, p.refund_reserved
HAVING p.refunded <> COALESCE(SUM(CASE WHEN r.status = 'SUCCEEDED' THEN r.amount_minor ELSE 0 END), 0)
    OR p.refund_reserved <> COALESCE(SUM(CASE WHEN r.status IN ('REQUESTED', 'PROCESSING', 'UNKNOWN') THEN r.amount_minor ELSE 0 END), 0);

-- refunds_within_paid: Never more goes back than came.
SELECT p.id FROM payments p WHERE :among(p.order_seq) AND p.refunded + p.refund_reserved > p.paid;

-- refund_of_success: Only what arrived is given back, in its currency, within its order.
SELECT r.id FROM refunds r LEFT JOIN payments p ON p.id = r.payment_id AND p.order_seq = r.order_seq
 WHERE :among(r.order_seq) AND (p.id IS NULL OR p.status <> 'SUCCEEDED' OR p.paid_currency <> r.currency);

-- refund_status: An order is refunded as far as its winner's counters say.
SELECT o.id FROM orders o JOIN payments p ON p.winner_of = o.seq
 WHERE :among(o.seq) AND o.status <> CASE WHEN p.refunded = 0 THEN 'PAID'
       WHEN p.refunded >= p.paid THEN 'REFUNDED' ELSE 'PARTIALLY_REFUNDED' END;

-- surplus_goes_back: Every surplus has its refund.
SELECT p.id FROM payments p WHERE :among(p.order_seq) AND p.surplus
   AND NOT EXISTS (SELECT 1 FROM refunds r WHERE r.payment_id = p.id);

-- surplus_in_time: A surplus is at its gateway within five minutes, or somebody still works on it.
SELECT p.id FROM payments p WHERE :among(p.order_seq) AND p.surplus AND p.since < :five_minutes_ago
   AND p.refunded < p.paid AND NOT EXISTS (SELECT 1 FROM refunds r WHERE r.payment_id = p.id
       AND (r.status IN ('PROCESSING', 'UNKNOWN') OR (r.status = 'REQUESTED' AND r.next_at >= :five_minutes_ago)));

-- payments_looked_at: Every undecided payment is looked at again, or is people's after two days.
SELECT p.id FROM payments p WHERE :among(p.order_seq) AND p.next_at IS NULL
   AND (p.status = 'PENDING' OR (p.status IN ('CREATED', 'UNKNOWN') AND p.since > :two_days_ago));

-- refunds_looked_at: Every undecided refund is looked at again, unless a person has to approve it first.
SELECT r.id FROM refunds r WHERE :among(r.order_seq)
   AND r.status IN ('REQUESTED', 'PROCESSING', 'UNKNOWN') AND r.next_at IS NULL
   AND (r.approval IS NULL OR r.approval <> 'AWAITED');

-- approved_by_another: A refund is approved by another person than the one who asked, and not sent before.
SELECT r.id FROM refunds r WHERE :among(r.order_seq) AND (r.approved_by = r.requested_by
    OR (r.approval = 'GIVEN') <> (r.approved_by IS NOT NULL) OR (r.approval = 'AWAITED' AND (r.sent OR r.status <> 'REQUESTED')));

-- orders_looked_at: Every unpaid order expires, unless people have to decide about its money.
SELECT o.id FROM orders o WHERE :among(o.seq) AND o.status IN ('PENDING_PAYMENT', 'PAYING') AND o.next_at IS NULL
   AND NOT EXISTS (SELECT 1 FROM payments p WHERE p.order_seq = o.seq AND p.mismatch AND p.refunded < p.paid);

-- live_attempt: The live attempt is the order's, and open.
SELECT o.id FROM orders o LEFT JOIN payments p ON p.id = o.open_payment
 WHERE :among(o.seq) AND (o.status = 'PAYING') <> (o.open_payment IS NOT NULL)
    OR :among(o.seq) AND o.status = 'PAYING'
   AND (p.id IS NULL OR p.order_seq <> o.seq OR p.status NOT IN ('CREATED', 'UNKNOWN', 'PENDING'));

-- one_live_attempt: Whatever else is open at a gateway is being closed there.
SELECT p.id FROM payments p JOIN orders o ON o.seq = p.order_seq
 WHERE :among(p.order_seq) AND p.status IN ('CREATED', 'UNKNOWN', 'PENDING') AND NOT p.closing
   AND (o.open_payment IS NULL OR o.open_payment <> p.id);

-- daily_sums: What a customer has ordered on a day equals the orders that count in it.
SELECT t.customer_id FROM (
  SELECT d.customer_id, d.day, d.currency, d.sum_minor AS minor FROM customer_days d
   WHERE d.customer_id IN (SELECT l.customer_id FROM orders l WHERE :among(l.seq))
  UNION ALL
  SELECT o.customer_id, o.counted_on, o.currency, -o.total_minor FROM orders o
   WHERE o.counted_on IS NOT NULL AND o.status <> 'CLOSED'
     AND o.customer_id IN (SELECT l.customer_id FROM orders l WHERE :among(l.seq))
) t GROUP BY t.customer_id, t.day, t.currency HAVING SUM(t.minor) <> 0;

-- events_without_gap: The versions of an order's events have no gap, and the last one is the order's.
SELECT o.id FROM orders o LEFT JOIN events e ON e.order_seq = o.seq WHERE :among(o.seq)
 GROUP BY o.id, o.version HAVING COUNT(e.seq) <> o.version OR COUNT(DISTINCT e.version) <> o.version
    OR MAX(e.version) <> o.version OR MIN(e.version) <> 1;

-- events_go_out: Where a channel is behind an order's events, it is looked at again.
SELECT o.id FROM orders o WHERE :among(o.seq)
   AND (o.amqp_at IS NULL AND o.amqp_version <> o.version OR o.webhook_at IS NULL AND o.webhook_version <> o.version
    OR o.amqp_version > o.version OR o.webhook_version > o.version);

-- lease_is_short: No operation runs on 20 s after its lease has ended.
SELECT c.seq FROM operations c WHERE c.state = 'RUNNING' AND c.lease_until < :lease_over;

-- one_charge_per_number: Two payments never have the same charge at a gateway.
-- deep
SELECT MIN(p.id) FROM payments p WHERE p.gateway_transaction_id IS NOT NULL
 GROUP BY p.gateway, p.gateway_transaction_id HAVING COUNT(*) > 1;

-- one_payment_per_number: A payment's number is given once.
-- deep
SELECT p.id FROM payments p GROUP BY p.id HAVING COUNT(*) > 1;

-- one_refund_per_number: A refund's number is given once.
-- deep
SELECT r.id FROM refunds r GROUP BY r.id HAVING COUNT(*) > 1;

-- one_outcome_per_key: A key of a subject has one claim.
-- deep
SELECT MIN(c.seq) FROM operations c GROUP BY c.subject, c.idempotency_key HAVING COUNT(*) > 1;

-- quote_made_its_order: A quote that is used names the order that it made.
-- deep
SELECT q.jti FROM quotes q LEFT JOIN orders o ON o.id = q.order_id WHERE o.id IS NULL;

-- outcome_is_there: A claim names what it made.
-- deep
SELECT c.seq FROM operations c LEFT JOIN orders o ON o.id = c.order_id
  LEFT JOIN payments p ON p.id = c.payment_id LEFT JOIN refunds r ON r.id = c.refund_id
 WHERE o.id IS NULL OR (c.payment_id IS NOT NULL AND p.id IS NULL) OR (c.refund_id IS NOT NULL AND r.id IS NULL);

-- one_effect_per_notification: Each notification is kept once.
-- deep
SELECT MIN(n.seq) FROM notifications n GROUP BY n.gateway, n.notification_id HAVING COUNT(*) > 1;

-- notifications_looked_at: A notification about an unknown number is looked at again until people have it.
-- deep
SELECT n.seq FROM notifications n WHERE n.outcome = 'UNKNOWN_NUMBER' AND n.next_at IS NULL;

-- nobody_idles: No session stands idle inside a transaction.
-- postgres
SELECT s.pid FROM pg_stat_activity s WHERE s.datname = current_database()
   AND s.state LIKE 'idle in transaction%' AND s.state_change < clock_timestamp() - interval '5 seconds';
