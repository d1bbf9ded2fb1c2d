//! Enums of the schema, and their twins in the domain.

use async_graphql::Enum;

macro_rules! mirrored {
    ($(#[$doc:meta])* $name:ident = $twin:path { $($(#[$item_doc:meta])* $item:ident),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$item_doc])* $item),+ }

        impl From<$twin> for $name {
            fn from(twin: $twin) -> Self {
                use $twin as Twin;
                match twin { $(Twin::$item => Self::$item),+ }
            }
        }

        impl From<$name> for $twin {
            fn from(item: $name) -> Self {
                use $twin as Twin;
                match item { $($name::$item => Twin::$item),+ }
            }
        }
    };
}

mirrored!(
    /// A payment provider.
    Gateway = domain::Gateway {
        /// WeChat Pay.
        WechatPay,
        /// Alipay.
        Alipay,
    }
);

mirrored!(
    /// How the payer gets to the provider. WeChat Pay: NATIVE, JSAPI, H5, APP. Alipay: PRECREATE, PAGE,
    /// WAP, APP. Any other pair is BAD_USER_INPUT.
    PaymentProduct = domain::PaymentProduct {
        /// WeChat Pay: show a QR code, the payer scans it.
        Native,
        /// WeChat Pay: inside WeChat's browser or a mini program. Needs `payerId`.
        Jsapi,
        /// WeChat Pay: any other mobile browser.
        #[graphql(name = "H5")]
        H5,
        /// Either: a native mobile app.
        App,
        /// Alipay: show a QR code, the payer scans it.
        Precreate,
        /// Alipay: a desktop browser.
        Page,
        /// Alipay: a mobile browser.
        Wap,
    }
);

mirrored!(
    /// Where an order stands. It can be paid while PENDING_PAYMENT or PAYING.
    OrderStatus = domain::OrderStatus {
        /// Nothing is open; pay it with repayOrder.
        PendingPayment,
        /// A payment is open.
        Paying,
        /// Paid.
        Paid,
        /// A part has gone back.
        PartiallyRefunded,
        /// All has gone back. Final.
        Refunded,
        /// Closed unpaid. Final.
        Closed,
    }
);

mirrored!(
    /// Why an order was closed unpaid.
    CloseReason = domain::CloseReason {
        /// Its time ran out.
        Expired,
        /// Somebody cancelled it.
        Cancelled,
    }
);

mirrored!(
    /// Where a payment stands.
    PaymentStatus = domain::PaymentStatus {
        /// Recorded; the gateway is being asked.
        Created,
        /// The payer can pay: see `action`.
        Pending,
        /// The gateway gave no trusted answer. The money may have moved; we keep asking.
        Unknown,
        /// Paid. Final.
        Succeeded,
        /// The gateway refused it.
        Failed,
        /// It can no longer be paid.
        Closed,
    }
);

mirrored!(
    /// Why money goes back.
    RefundReason = domain::RefundReason {
        /// The customer asked.
        CustomerRequest,
        /// Bought twice.
        Duplicate,
        /// Cannot be delivered.
        OutOfStock,
        /// Not what was promised.
        NotAsDescribed,
        /// Not the customer's own doing.
        Fraud,
        /// Anything else.
        Other,
        /// The order did not need the money. Given by Payonce alone.
        Surplus,
        /// Made in the gateway's console, or by Payonce before its store lost its last commits. Given by Payonce
        /// alone.
        Outside,
    }
);

/// Where a refund stands.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefundStatus {
    /// Waits for another person's approval.
    PendingApproval,
    /// Recorded, and sent or soon to be; the money is on its way.
    Processing,
    /// The gateway gave no trusted answer. The money may have moved; we keep asking.
    Unknown,
    /// The money is back. Final.
    Succeeded,
    /// No money moved. Final.
    Failed,
    /// The approver said no. Final.
    Rejected,
}

impl From<domain::RefundStatus> for RefundStatus {
    fn from(status: domain::RefundStatus) -> Self {
        match status {
            domain::RefundStatus::Requested | domain::RefundStatus::Processing => Self::Processing,
            domain::RefundStatus::Unknown => Self::Unknown,
            domain::RefundStatus::Succeeded => Self::Succeeded,
            domain::RefundStatus::Failed => Self::Failed,
            domain::RefundStatus::AwaitingApproval => Self::PendingApproval,
            domain::RefundStatus::Rejected => Self::Rejected,
        }
    }
}

impl RefundStatus {
    /// The stored states that show as this one.
    pub fn stored(self) -> &'static [domain::RefundStatus] {
        match self {
            Self::PendingApproval => &[domain::RefundStatus::AwaitingApproval],
            Self::Rejected => &[domain::RefundStatus::Rejected],
            Self::Processing => &[domain::RefundStatus::Requested, domain::RefundStatus::Processing],
            Self::Unknown => &[domain::RefundStatus::Unknown],
            Self::Succeeded => &[domain::RefundStatus::Succeeded],
            Self::Failed => &[domain::RefundStatus::Failed],
        }
    }
}
