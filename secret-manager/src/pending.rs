//! The future of a trait method.

use std::pin::Pin;

/// What a method of a trait object gives back: traits with `async fn` make no objects.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
