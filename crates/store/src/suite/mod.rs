//! What every store does, whatever it is made of: each case is a function that a driver's tests call. [`crate::suite!`]
//! writes those tests.

mod admins;
mod allowances;
mod approving;
mod audit;
mod cases;
mod faults;
mod feed;
mod findings;
mod model;
mod pins;
mod pseudonyms;
mod record;
mod registering;
mod rules;
mod samples;
mod seen;

use std::sync::Arc;

use crate::Store;

pub use admins::*;
pub use allowances::*;
pub use approving::*;
pub use audit::*;
pub use cases::*;
pub use faults::{Fault, Faulty};
pub use feed::*;
pub use findings::*;
pub use model::it_does_what_the_store_in_memory_does;
pub use pins::*;
pub use pseudonyms::*;
pub use record::*;
pub use registering::*;
pub use rules::*;
pub use samples::{approval, blocked_agent, definitions, key, registered, revoked_user, sighting, sightings};
pub use seen::*;

/// A place for one store, empty at first.
pub trait Place: Send + Sync {
    /// Opens what is there, as another process would: handles share nothing but the place. `feed_max`: how many changes its
    /// feed keeps.
    fn open(&self, feed_max: usize) -> Arc<dyn Store>;
}

/// Opens what is there as it usually is.
fn open(place: &dyn Place) -> Arc<dyn Store> {
    place.open(crate::FEED_MAX)
}

/// A test for each case of the suite. `$place`: an expression that makes a fresh [`Place`].
#[macro_export]
macro_rules! suite {
    ($place:expr) => {
        $crate::suite! {
            $place;
            many_may_start_at_once
            keys_are_kept
            keys_are_listed_in_their_order
            a_rotated_key_ends_when_it_is_told_to
            what_cannot_be_rotated_stays_as_it_is
            a_key_is_revoked_once_and_for_good
            revocations_are_kept_until_they_are_taken_back
            revocations_that_ended_long_ago_go
            blocks_are_kept_until_they_are_lifted
            pauses_are_kept_until_they_are_over_or_lifted
            what_is_seen_first_is_pinned_and_what_differs_waits
            only_what_was_looked_at_is_approved
            what_is_held_takes_more_than_being_seen
            pins_are_listed_in_their_order
            no_more_is_pinned_of_a_server_than_is_allowed
            approvals_are_kept_as_they_were_asked_for
            the_same_call_is_asked_about_once
            no_more_wait_than_may
            a_grant_is_given_to_one_of_many
            a_grant_is_good_for_its_own_call
            of_two_words_at_once_both_count
            a_change_of_arguments_is_an_approval_of_its_own
            approvals_that_ended_long_ago_go
            registrations_live_as_they_may
            of_two_who_change_a_registration_one_is_told
            registrations_change_together_or_not_at_all
            versions_that_are_approved_at_once_share_the_requests
            a_server_has_so_many_versions
            rules_are_kept_with_their_versions
            of_two_who_change_rules_one_is_told
            what_decides_is_in_the_feed_and_the_snapshot
            only_what_was_seen_is_changed
            of_two_gateways_that_change_the_same_one_does
            definitions_are_kept_to_the_letter
            definitions_are_kept_where_they_belong
            what_cannot_be_kept_is_refused
            the_latest_accepted_texts_are_remembered
            a_restart_forgets_nothing
            the_feed_says_what_the_snapshot_says
            what_was_not_done_is_not_in_the_feed
            a_place_that_is_not_in_the_feed_is_lost
            changes_come_in_portions
            writers_at_once_lose_and_reorder_nothing
            of_two_who_want_the_same_one_gets_it
            news_of_others_is_known_within_a_second
            own_news_is_heard
            it_does_what_the_store_in_memory_does
            what_happened_is_found_by_all_that_it_says
            entries_are_taken_in_once
            a_call_is_open_until_its_outcome_comes
            what_arrives_is_told_in_its_order
            names_are_found_until_they_are_forgotten
            old_rows_go_and_an_index_is_made_again
            several_replicas_index_into_one_store
            what_was_used_is_added_up
            several_gateways_add_to_the_same_sums
            what_guards_found_is_listed_and_added_up
            anchors_are_kept_as_they_came
            of_old_anchors_one_an_hour_stays
            requests_to_erase_are_numbered
            admin_keys_are_kept_and_revoked_for_good
            admin_sessions_are_kept_until_they_are_over
            what_is_asked_for_once_is_answered_the_same_again
            no_more_is_given_than_is_allowed
            many_take_at_once
            windows_that_ended_long_ago_go
            a_name_stands_for_one_text_of_its_owners
            of_gateways_that_give_a_name_at_once_one_does
            of_gateways_that_give_many_names_at_once_one_does
            names_are_good_for_as_long_as_they_are_used
            numbers_are_never_given_again
        }
    };
    ($place:expr; $($case:ident)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let place = $place;
                $crate::suite::$case(&place).await;
            }
        )+
    };
}
