//! The face that rustls 0.23 sees. rustls 0.24 changes the key's type and nothing else: this file is all that follows it.

use crate::ServerSessions;
use rustls::server::StoresServerSessions;

impl StoresServerSessions for ServerSessions {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.store(key, value)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.find_tls12(key)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.take_tls13(key)
    }

    fn can_cache(&self) -> bool {
        self.is_caching()
    }
}
