//! Certificates for servers with TLS, made by `openssl`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// The certificate of an authority (`ca.pem`), and a certificate of 127.0.0.1 (`server.pem` with its `key.pem`) that the authority signed. The folder
/// is removed on drop.
#[derive(Debug)]
pub struct Certificates {
    folder: PathBuf,
}

impl Certificates {
    /// Makes both, or prints that the test is skipped and returns `None` where there is no `openssl`.
    ///
    /// # Panics
    ///
    /// If `openssl` fails, or if it is absent and `CI` is `true`.
    #[must_use]
    pub fn new() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("ratelimit-meter-tls-{}-{number}", std::process::id()));
        fs::create_dir(&folder).expect("a new folder");
        let made = Self { folder };
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        fs::write(made.path("names"), "subjectAltName=IP:127.0.0.1\n").expect("a file");
        let commands = [
            format!("req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=ca"),
            format!("req {key} -keyout key.pem -out request.pem -subj /CN=server"),
            "x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 2 -extfile names"
                .to_owned(),
        ];
        let is_made = commands.iter().all(|command| openssl(&made.folder, command));
        if !is_made {
            crate::skipped("openssl");
        }
        is_made.then_some(made)
    }

    /// Returns the path of a file.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Runs `openssl` in a folder; `false` where there is no such program.
fn openssl(folder: &Path, words: &str) -> bool {
    let Ok(output) = Command::new("openssl")
        .args(words.split(' '))
        .current_dir(folder)
        .output()
    else {
        return false;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    true
}
