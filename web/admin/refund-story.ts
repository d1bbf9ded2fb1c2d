import { newIdempotencyKey } from '../client/idempotency-key';

/** The tabs of a first visit: from a customer's complaint to money on its way back. */
export function refundStory() {
  return [
    // Without variables: GraphiQL leaves out those of the tab it opens first.
    { query: FIND_ORDER },
    { query: REFUND, variables: refundVariables(newIdempotencyKey('console')) },
    { query: WATCH_IT_LIVE, variables: '{\n  "orderId": "ord_PASTE_HERE"\n}' },
    { query: REFUNDS, variables: '{\n  "filter": {}\n}' },
  ];
}

function refundVariables(idempotencyKey: string): string {
  return `{
  "idempotencyKey": "${idempotencyKey}",
  "input": {
    "orderId": "ord_PASTE_HERE",
    "amount": { "minor": "1000", "currency": "CNY" },
    "reason": "CUSTOMER_REQUEST"
  }
}`;
}

const FIND_ORDER = `# 1. Find the order, newest first.
# Copy its id for the next tabs.
query FindOrder {
  orders(
    first: 10
    # also: customerId, gatewayTransactionId,
    # createdFrom, createdTo
    filter: { status: [PAID, PARTIALLY_REFUNDED] }
  ) {
    nodes {
      id
      status
      customerId
      createdAt
      paid { decimal currency }
      refundable { minor decimal currency }
      lines { name quantity }
    }
    pageInfo { hasNextPage endCursor }
  }
}
`;

const REFUND = `# 2. Refund a part: "1000" of CNY is 10.00 yuan.
# Without amount: all that is left.
# It has arrived when its status is SUCCEEDED.
mutation Refund(
  $idempotencyKey: IdempotencyKey!
  $input: RefundOrderInput!
) {
  refundOrder(
    idempotencyKey: $idempotencyKey
    input: $input
  ) {
    replayed
    refund {
      id
      status
      amount { decimal currency }
    }
    order {
      id
      status
      refunded { decimal currency }
      refundable { minor decimal currency }
    }
  }
}
`;

const WATCH_IT_LIVE = `# 3. Watch one order: now, and at every change.
# It stops when you leave this tab: use a second
# window to watch while you refund.
subscription WatchItLive($orderId: ID!) {
  paymentStatus(orderId: $orderId) {
    orderStatus
    version
    at
    refund {
      id
      status
      amount { decimal currency }
    }
    order {
      refunded { decimal currency }
      refundable { decimal currency }
    }
  }
}
`;

const REFUNDS = `# 4. All refunds, newest first.
# Of one order: {"filter": {"orderId": "ord_…"}}
query Refunds($filter: RefundFilter) {
  refunds(first: 20, filter: $filter) {
    nodes {
      id
      status
      amount { decimal currency }
      reason
      requestedBy
      failureReason
      createdAt
      succeededAt
      order { id status }
    }
    pageInfo { hasNextPage endCursor }
  }
}
`;
