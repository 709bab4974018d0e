//! Long lists, a page at a time.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Query};
use axum::response::{IntoResponse, Response};
use hyper::StatusCode;
use hyper::http::request::Parts;
use hyper::http::uri::Uri;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::super::{App, http};

/// What of a long list is asked for, in its order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Page<K> {
    /// What comes after this.
    pub(super) after: Option<K>,
    /// So many at most.
    pub(super) limit: usize,
}

/// As it is asked for.
#[derive(Debug, Deserialize)]
pub(super) struct AskedPage {
    after: Option<String>,
    limit: Option<String>,
}

/// What is wrong with a query.
#[derive(Debug, thiserror::Error)]
pub(super) enum Misasked {
    #[error("after must be the id that the last page ended with")]
    After,
    #[error("limit must be a whole number from 1 to 4294967295")]
    Limit,
    #[error("dialect must be cuttlefish, gstreamer, gecko or kurento")]
    Dialect,
    #[error("{0}")]
    Query(String),
}

/// A query of known fields.
pub(super) struct Asked<T>(pub(super) T);

impl AskedPage {
    /// The page, with [`Limits::admin_page`](crate::config::Limits::admin_page) entries at most.
    ///
    /// # Errors
    /// What is wrong with the query.
    pub(super) fn page<K: std::str::FromStr>(self, app: &App) -> Result<Page<K>, Misasked> {
        let most = app.config.limits.admin_page;
        let after = self.after.map(|after| after.parse());
        let after = after.transpose().map_err(|_| Misasked::After)?;
        let limit = match self.limit.map(|limit| limit.parse::<u32>()) {
            None => most,
            Some(Ok(limit @ 1..)) => most.min(limit as usize),
            Some(_) => return Err(Misasked::Limit),
        };
        Ok(Page { after, limit })
    }
}

impl<K: Ord + Copy> Page<K> {
    /// The page of these, and how many there are on all pages.
    pub(super) fn of(self, mut all: Vec<K>) -> (Vec<K>, usize) {
        let total = all.len();
        all.retain(|key| self.after.is_none_or(|after| *key > after));
        // Only what is shown is put in order.
        if all.len() > self.limit {
            all.select_nth_unstable(self.limit);
            all.truncate(self.limit);
        }
        all.sort_unstable();
        (all, total)
    }
}

impl<T: DeserializeOwned> FromRequestParts<Arc<App>> for Asked<T> {
    type Rejection = Misasked;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, Misasked> {
        Self::of(&parts.uri)
    }
}

impl<T: DeserializeOwned> Asked<T> {
    /// What is asked for.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn of(uri: &Uri) -> Result<Self, Misasked> {
        let asked = Query::try_from_uri(uri);
        let asked = asked.map_err(|wrong| Misasked::Query(wrong.body_text()))?;
        Ok(Self(asked.0))
    }
}

impl IntoResponse for Misasked {
    fn into_response(self) -> Response {
        http::error(StatusCode::BAD_REQUEST, &self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other_and_none_is_left_out() {
        let all = || vec![5, 3, 9, 1, 7];
        let page = |after, limit| Page { after, limit }.of(all());
        assert_eq!(page(None, 2), (vec![1, 3], 5));
        assert_eq!(page(Some(3), 2), (vec![5, 7], 5));
        assert_eq!(page(Some(7), 2), (vec![9], 5));
        assert_eq!(page(Some(9), 2), (vec![], 5));
        assert_eq!(page(None, 5), (vec![1, 3, 5, 7, 9], 5));
    }
}
