//! The settings of a limit besides its quota.

use super::BoxLimit;
use super::lane::Lane;
use super::limiter::{ByKey, Limiter, SECOND_NAME, Target, TierName};
use crate::address::{InvalidNet, Net, any_contains, nets};
use crate::error::InvalidLimit;
use crate::head::Head;
use crate::key::{FindAddress, Key};
use crate::meters::Meters;
use crate::policy::Policy;
use ratelimit_meter::keyed::WhenFull;
use ratelimit_meter::{DualQuota, Quota};
use std::sync::Arc;

/// The settings that limits of this process and limits of a store share: methods of a type with a field `rules`. Some have docs of each type's own.
macro_rules! settings {
    (
        $(#[$dry_run:meta])* dry_run,
        $(#[$refund_if:meta])* refund_if,
        $(#[$charge_if:meta])* charge_if,
        $(#[$refund_cancelled:meta])* refund_cancelled,
        $(#[$late:meta])* late,
    ) => {
        $(#[$dry_run])*
        #[must_use]
        pub fn dry_run(mut self) -> Self {
            self.rules.dry_run = true;
            self
        }

        $(#[$refund_if])*
        #[must_use]
        pub fn refund_if(self, refunds: impl Fn(&$crate::head::ResponseHead<'_>) -> bool + Send + Sync + 'static) -> Self {
            self.counting($crate::limit::After::RefundIf(Box::new(refunds)))
        }

        $(#[$charge_if])*
        #[must_use]
        pub fn charge_if(self, charges: impl Fn(&$crate::head::ResponseHead<'_>) -> bool + Send + Sync + 'static) -> Self {
            self.counting($crate::limit::After::ChargeIf(Box::new(charges)))
        }

        fn counting(mut self, after: $crate::limit::After) -> Self {
            self.rules.after = Some(std::sync::Arc::new(after));
            self
        }

        $(#[$refund_cancelled])*
        #[must_use]
        pub fn refund_cancelled(mut self) -> Self {
            self.rules.refund_cancelled = true;
            self
        }

        $(#[$late])*
        #[must_use]
        pub fn late(mut self) -> Self {
            self.rules.late = true;
            self
        }

        /// Applies only to requests for which this closure returns true, and so do the closures of all earlier calls.
        ///
        /// A path is compared as the client wrote it. If a router also accepts `/search/` or `//search`, a limit on the route itself is safer. Use a
        /// layer of the route, or a closure that reads the route from the extensions (axum's `MatchedPath`). Below axum's `nest`, the path of
        /// [`Head::uri`](crate::Head::uri) lacks the prefix; `OriginalUri` in the extensions has all of it.
        ///
        /// ```
        /// use ratelimit_meter_tower::Shared;
        ///
        /// let searches = Shared::new("20/s".parse()?)?.only(|head| head.uri().path().starts_with("/search"));
        /// # Ok::<(), Box<dyn std::error::Error>>(())
        /// ```
        #[must_use]
        pub fn only(mut self, applies: impl Fn(&$crate::head::Head<'_>) -> bool + Send + Sync + 'static) -> Self {
            self.rules.filters.push(Box::new(applies));
            self
        }

        /// Applies only to requests of these methods. Name `HEAD` beside `GET`: axum answers it by the handler of `GET`.
        #[must_use]
        pub fn methods(self, methods: impl IntoIterator<Item = http::Method>) -> Self {
            let methods: Vec<_> = methods.into_iter().collect();
            self.only(move |head| methods.contains(head.method()))
        }

        /// Sets how many cells a request costs, 1 by default; nothing is taken for 0.
        ///
        /// ```
        /// use http::Method;
        /// use ratelimit_meter_tower::Shared;
        ///
        /// let limit = Shared::new("1000/s".parse()?)?.cost(|head| if head.method() == Method::POST { 5 } else { 1 });
        /// # Ok::<(), Box<dyn std::error::Error>>(())
        /// ```
        #[must_use]
        pub fn cost(mut self, cost: impl Fn(&$crate::head::Head<'_>) -> u64 + Send + Sync + 'static) -> Self {
            self.rules.cost = Some(Box::new(cost));
            self
        }

        /// Sets the treatment of requests without a key, [`OnNoKey::Share`](crate::OnNoKey::Share) by default.
        #[must_use]
        pub fn on_no_key(mut self, action: $crate::limit::OnNoKey) -> Self {
            self.rules.on_no_key = action;
            self
        }

        /// Announces a [`dry_run`](Self::dry_run) limit in the fields.
        #[must_use]
        pub fn announce(mut self) -> Self {
            self.rules.announce = true;
            self
        }

        /// Sets `Retry-After` alone, and leaves this limit out of the other fields and out of problems. For keys that the client does not own:
        /// the quota of a log-in name would reveal attempts of other clients.
        #[must_use]
        pub fn quiet(mut self) -> Self {
            self.rules.quiet = true;
            self
        }
    };
}
pub(crate) use settings;

/// The settings of every limit.
impl<T> Limiter<T> {
    settings! {
        /// Denies nothing, and reports the denials it would have made to the observer: a limit on trial. It has its own meters, counts the requests that
        /// all other limits admit, and is not announced. A request without a key passes where [`OnNoKey::Reject`](crate::OnNoKey::Reject) would
        /// deny it.
        dry_run,
        /// Takes the cost before the response, and gives it back if the closure returns true. Strict: parallel requests cannot overdraw.
        ///
        /// ```
        /// use ratelimit_meter_tower::{PeerIp, PerKey};
        ///
        /// // Only failed log-ins count.
        /// let failures = PerKey::new(PeerIp::new(), "5/h".parse()?, 100_000)?.refund_if(|reply| reply.status().is_success());
        /// # Ok::<(), Box<dyn std::error::Error>>(())
        /// ```
        refund_if,
        /// Charges the cost after the response, if the closure returns true. Before the response, the layer only checks whether the cost conforms.
        /// So requests in flight at once may overdraw, into debt. A request that will not be charged is never denied because of them. If the inner service
        /// fails, the cost is charged, as there is no response.
        charge_if,
        /// Does not count a request whose future is dropped before its response, as when the client leaves. Otherwise it counts, so that leaving
        /// early is not a way around the limit.
        refund_cancelled,
        /// Puts a [`Charge`](crate::Charge) into the extensions of the request, with which its handler charges or refunds cells that are known only later: tokens,
        /// rows, bytes, messages of a WebSocket. The fields of the response report the limit as it was when the request was admitted, before these charges.
        ///
        /// With a [`cost`](Self::cost) of 0 the request itself takes nothing. It is admitted if a cell conforms, so not while the key is in debt.
        late,
    }

    /// Names the policy, in the fields, in denials and for observers; `default` otherwise. In fields, characters that are not printable ASCII are
    /// percent-encoded. (The second quota of a dual limit is then called `NAME-sustained`.)
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        let second = format!("{name}-{SECOND_NAME}");
        self.named_each([name, &second])
    }

    /// Names both policies of a dual limit.
    #[must_use]
    pub fn named_both(self, first: &str, second: &str) -> Self {
        self.named_each([first, second])
    }

    fn named_each(self, names: [&str; 2]) -> Self {
        let mut names = names.into_iter();
        self.policies(|lane| {
            let name = names.next().unwrap_or_default();
            lane.policies.iter().map(|policy| policy.named(name)).collect()
        })
    }

    /// Sets the unit that is counted, the parameter `qu` of `RateLimit-Policy`. `"content-bytes"` makes a request that can never conform a 413
    /// (Content Too Large) instead of a 429.
    #[must_use]
    pub fn unit(self, unit: &str) -> Self {
        self.policies(|lane| lane.policies.iter().map(|policy| policy.with_unit(unit)).collect())
    }

    fn policies(mut self, mut policies: impl FnMut(&Lane) -> Vec<Policy>) -> Self {
        for lane in &mut self.lanes {
            let (meters, policies) = (Arc::clone(&lane.meters), policies(lane));
            *lane = Arc::new(Lane { meters, policies });
        }
        self
    }
}

impl<T: Target + 'static> Limiter<T> {
    /// Boxes the limit, so that limits with different types of keys have one type.
    #[must_use]
    pub fn boxed(self) -> BoxLimit {
        Box::new(self)
    }
}

/// The settings of limits per key.
impl<K: Key> Limiter<ByKey<K>> {
    /// Adds a tier: another quota in the same table, for the keys that [`tier_by`](Self::tier_by) puts there. Up to 16 in all. A key that
    /// changes tiers keeps its debts.
    ///
    /// For more than 16 quotas, such as one for each customer, let the [`cost`](Self::cost) differ instead: at `60000/min`, a request of a customer that
    /// may send 100 a minute costs 600.
    ///
    /// Builds a new table, with all keys idle, so add tiers before the limit counts requests.
    ///
    /// # Errors
    ///
    /// [`InvalidLimit`] if the quota is invalid for a meter, or there are 16 tiers, or there is one of this name.
    ///
    /// ```
    /// use ratelimit_meter_tower::{BearerKey, PerKey};
    ///
    /// #[derive(Clone)]
    /// struct Plan { name: &'static str }
    ///
    /// let users = PerKey::new(BearerKey::new(), "60/min".parse()?, 200_000)?
    ///     .tier("pro", "600/min".parse()?)?
    ///     .tier_by(|head| head.extensions().get::<Plan>().map(|plan| plan.name));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn tier(self, name: &str, quota: Quota) -> Result<Self, InvalidLimit> {
        self.tier_of(name, &[quota])
    }

    /// Adds a tier of two quotas to a dual limit; see [`tier`](Self::tier).
    ///
    /// # Errors
    ///
    /// As [`tier`](Self::tier).
    pub fn dual_tier(self, name: &str, quotas: DualQuota) -> Result<Self, InvalidLimit> {
        self.tier_of(name, &[quotas.first(), quotas.second()])
    }

    fn tier_of(mut self, name: &str, quotas: &[Quota]) -> Result<Self, InvalidLimit> {
        let tier = name.to_owned();
        if quotas.len() != self.lanes.len() {
            return Err(InvalidLimit::TierOfAnotherShape { tier });
        }
        if self.target.tiers.contains(&tier) {
            return Err(InvalidLimit::DuplicateTier { tier });
        }
        self.lanes = self.rebuilt(|lane, index| {
            let quota = quotas[index];
            let mut policies = lane.policies.clone();
            policies.push(policies[0].for_tier(name, quota));
            Ok((lane.meters.with_tier(quota)?, policies))
        })?;
        self.target.tiers.push(tier);
        Ok(self)
    }

    /// Sets how a request's tier is found, by name or number. A request without a tier is in the first. So is a request whose tier does not
    /// exist, which gives one warning.
    ///
    /// The quotas of a limit are fixed. To change them while it serves, declare each as a tier, and let the closure read which one holds now. Each
    /// key keeps its debt, and the fields report the new quota.
    ///
    /// ```
    /// use ratelimit_meter_tower::{PeerIp, PerKey};
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicU8, Ordering};
    ///
    /// let in_force = Arc::new(AtomicU8::new(0)); // an operator sets it to 1
    /// let reads = Arc::clone(&in_force);
    /// let clients = PerKey::new(PeerIp::new(), "100/min".parse()?, 100_000)?
    ///     .tier("incident", "10/min".parse()?)?
    ///     .tier_by(move |_| Some(reads.load(Ordering::Relaxed)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn tier_by<N: Into<TierName>>(mut self, tier: impl Fn(&Head<'_>) -> Option<N> + Send + Sync + 'static) -> Self {
        self.target.tier_by = Some(Box::new(move |head| tier(head).map(Into::into)));
        self
    }

    /// Sets the treatment of a key for which the table has no slot, [`WhenFull::Forgive`] by default. A request that `WhenFull::Deny`
    /// denies is a 503.
    ///
    /// Builds a new table, with all keys idle.
    ///
    /// # Errors
    ///
    /// [`InvalidLimit`] if there is no memory for it.
    pub fn when_full(mut self, when_full: WhenFull) -> Result<Self, InvalidLimit> {
        self.lanes = self.rebuilt(|lane, _| Ok((lane.meters.with_policy(when_full)?, lane.policies.clone())))?;
        Ok(self)
    }

    fn rebuilt(
        &self,
        rebuild: impl Fn(&Lane, usize) -> Result<(Arc<dyn Meters>, Vec<Policy>), InvalidLimit>,
    ) -> Result<Vec<Arc<Lane>>, InvalidLimit> {
        let lanes = self.lanes.iter().enumerate();
        lanes
            .map(|(index, lane)| {
                let (meters, policies) = rebuild(lane, index)?;
                Ok(Arc::new(Lane { meters, policies }))
            })
            .collect()
    }
}

impl<K: Key + FindAddress + Clone + 'static> Limiter<ByKey<K>> {
    /// Does not apply to clients of these networks, such as your own probes. The key is an address, or a tuple that begins with one.
    ///
    /// # Errors
    ///
    /// [`InvalidNet`] if one of them is no network.
    pub fn allow<I>(self, allowed: I) -> Result<Self, InvalidNet>
    where
        I: IntoIterator<Item: TryInto<Net, Error: Into<InvalidNet>>>,
    {
        let key = self.target.key.clone();
        Ok(self.only(outside(key, nets(allowed)?)))
    }
}

/// Returns a filter that passes clients outside of these networks.
pub(crate) fn outside<K: FindAddress>(key: K, allowed: Vec<Net>) -> impl Fn(&Head<'_>) -> bool {
    move |head| {
        let address = key.find_address(head);
        !address.is_some_and(|address| any_contains(&allowed, address))
    }
}
