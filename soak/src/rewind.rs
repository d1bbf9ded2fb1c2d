//! The store loses its last commits, as after a failover to a replica that lagged behind.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;

use crate::Result;
use crate::client::insist;
use crate::journal::Journal;
use crate::machines::Backend;
use crate::site::Site;

/// Keeps a copy of the store as it is now; nobody works meanwhile.
pub async fn copy(site: &Site) -> Result<()> {
    site.kill_all().await;
    match site.backend {
        Backend::Sqlite => files(&site.database, &format!("{}.copy", site.database))?,
        _ => {
            let server = site.postgres().ok_or("only SQLite and PostgreSQL are rewound")?;
            // Who looks on from here, or has just died, still has a session there: it is not copied then.
            let ends = format!(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}' AND pid <> pg_backend_pid()",
                site.database
            );
            let copy = format!("CREATE DATABASE {0}_copy TEMPLATE {0}", site.database);
            let mut tries = 0;
            loop {
                server.command(&ends).await?;
                match server.command(&copy).await {
                    Err(_) if tries < 20 => tries += 1,
                    done => break done?,
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    start_all(site).await
}

/// Puts the copy in the store's place: what was committed since is lost. Then every client sends every key that was
/// answered again, each its own in their order.
pub async fn back(site: &Arc<Site>, journal: &Arc<Journal>) -> Result<u64> {
    site.kill_all().await;
    match site.backend {
        Backend::Sqlite => files(&format!("{}.copy", site.database), &site.database)?,
        _ => {
            let server = site.postgres().ok_or("only SQLite and PostgreSQL are rewound")?;
            server.command(&format!("DROP DATABASE {} WITH (FORCE)", site.database)).await?;
            server.command(&format!("ALTER DATABASE {0}_copy RENAME TO {0}", site.database)).await?;
        }
    }
    journal.rewound();
    start_all(site).await?;
    let known: Vec<(usize, usize)> = {
        let book = journal.book();
        let sent = book.intents.iter().enumerate().filter(|(_, i)| i.sent > 0 && i.refused.is_none());
        sent.map(|(n, i)| (i.customer, n)).collect()
    };
    let customers = known.iter().map(|(customer, _)| *customer).max().map_or(0, |most| most + 1);
    let again = (0..customers).map(|customer| {
        let own: Vec<usize> = known.iter().filter(|(c, _)| *c == customer).map(|(_, n)| *n).collect();
        async move {
            for intent in own {
                insist(site, journal, intent, 50, Duration::from_millis(200)).await;
            }
        }
    });
    stream::iter(again).buffer_unordered(8).collect::<Vec<()>>().await;
    Ok(known.len() as u64)
}

async fn start_all(site: &Site) -> Result<()> {
    for n in 0..site.ports.len() {
        site.start(n, "").await?;
    }
    Ok(())
}

/// Copies SQLite's three files; what the target had before is gone.
fn files(from: &str, to: &str) -> Result<()> {
    for end in ["", "-wal", "-shm"] {
        let (from, to) = (format!("{from}{end}"), format!("{to}{end}"));
        std::fs::remove_file(&to).ok();
        if std::path::Path::new(&from).exists() {
            std::fs::copy(from, to)?;
        }
    }
    Ok(())
}
