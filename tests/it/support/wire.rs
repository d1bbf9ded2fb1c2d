//! What can go wrong with any call to a gateway on its way, whatever it asks.

use sandbox::FaultKind;

pub const ON_THE_WAY: [FaultKind; 14] = [
    FaultKind::LoseRequest,
    FaultKind::LoseAnswer,
    FaultKind::ResetRequest,
    FaultKind::ResetAnswer,
    FaultKind::Error500,
    FaultKind::HttpError(502),
    FaultKind::HttpError(503),
    FaultKind::HttpError(504),
    FaultKind::RateLimited,
    FaultKind::Redirect,
    FaultKind::DelayMs(10),
    FaultKind::Unsigned,
    FaultKind::WronglySigned,
    FaultKind::Signtest,
];
