//! Who asks, and what they may.

use domain::{Order, Timestamp};

use super::PaymentError;

/// A role from the token's `roles` claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Own orders only.
    Customer,
    /// Reads all.
    Support,
    /// May request refunds.
    Refunder,
    /// May approve another person's refund.
    Approver,
    /// All.
    Admin,
    /// May create orders for the `sub` of a signed quote.
    Service,
}

impl Role {
    /// Reads the claim's word; unknown words are no role.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "customer" => Self::Customer,
            "support" => Self::Support,
            "refunder" => Self::Refunder,
            "approver" => Self::Approver,
            "admin" => Self::Admin,
            "service" => Self::Service,
            _ => return None,
        })
    }
}

/// A verified token's holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The token's `sub`: keys and orders belong to it.
    pub subject: String,
    /// What the holder may.
    pub roles: Vec<Role>,
    /// When the token ends; live connections end with it.
    pub expires_at: Timestamp,
}

impl Caller {
    /// The caller, if they have this role or are an admin.
    pub fn may(&self, role: Role) -> Result<&Self, PaymentError> {
        if self.roles.contains(&role) || self.roles.contains(&Role::Admin) {
            Ok(self)
        } else {
            Err(PaymentError::Forbidden)
        }
    }

    /// Reads every order.
    pub fn is_staff(&self) -> bool {
        self.roles.iter().any(|r| matches!(r, Role::Support | Role::Refunder | Role::Approver | Role::Admin))
    }

    /// The order is theirs, or they read all.
    pub fn sees(&self, order: &Order) -> bool {
        self.is_staff() || order.customer == self.subject
    }

    /// They may pay or cancel it: the customer themselves, or an admin.
    pub fn acts_for(&self, order: &Order) -> bool {
        order.customer == self.subject || self.roles.contains(&Role::Admin)
    }
}
