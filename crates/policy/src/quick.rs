//! Conditions that are judged without Cedar, which takes some ten times as long: those that compare single texts, whole numbers
//! and truth values with each other. Most conditions on arguments are that simple.
//!
//! Cedar says what a policy means. Here a condition is judged only where nothing about it can be meant in two ways; all else, and
//! whatever would be an error or compares unlike things, is left to Cedar. The tests judge generated conditions both ways.

use std::sync::Arc;

use cedar_policy::pst::{BinaryOp, Expr, Literal, UnaryOp};

use crate::Scene;
use crate::circumstances;
use crate::uses::{chain, env};
use crate::value::Value;

/// How deeply a condition may nest. Deeper ones are Cedar's, which looks after its stack.
const DEPTH_MAX: usize = 32;

/// A condition.
#[derive(Debug)]
pub(crate) enum Quick {
    Constant(bool),
    Not(Box<Quick>),
    And(Box<[Quick; 2]>),
    Or(Box<[Quick; 2]>),
    Equal(Term, Term),
    Less(Term, Term),
    LessOrEqual(Term, Term),
    /// Something that is true or false by itself.
    Is(Term),
    /// Whether an argument has these, each within the one before.
    Has(Vec<Arc<str>>, Vec<Arc<str>>),
}

/// What is compared.
#[derive(Debug)]
pub(crate) enum Term {
    Text(Box<str>),
    Long(i64),
    Bool(bool),
    /// An argument, or a part of one.
    Input(Vec<Arc<str>>),
    /// One of the circumstances.
    Env(u16),
}

/// A single value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plain<'a> {
    Text(&'a str),
    Long(i64),
    Bool(bool),
}

/// What there is to judge by.
#[derive(Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub(crate) input: &'a Value,
    pub(crate) scene: &'a Scene<'a>,
    pub(crate) environment: Option<&'a str>,
}

impl Quick {
    /// A condition, if it is simple enough.
    pub(crate) fn of(expr: &Expr) -> Option<Self> {
        Self::read(expr, DEPTH_MAX)
    }

    fn read(expr: &Expr, depth: usize) -> Option<Self> {
        let depth = depth.checked_sub(1)?;
        let not = |quick| Self::Not(Box::new(quick));
        Some(match expr {
            Expr::Literal(Literal::Bool(value)) => Self::Constant(*value),
            Expr::GetAttr { .. } => Self::Is(Term::of(expr)?),
            Expr::UnaryOp { op: UnaryOp::Not, expr } => not(Self::read(expr, depth)?),
            Expr::HasAttr { expr, attrs } => {
                let base = input(&chain(expr)?)?;
                Self::Has(base, attrs.iter().map(|name| Arc::from(name.as_str())).collect())
            }
            Expr::BinaryOp { op, left, right } => {
                let both = || Some(Box::new([Self::read(left, depth)?, Self::read(right, depth)?]));
                let terms = || Some((Term::of(left)?, Term::of(right)?));
                match op {
                    BinaryOp::And => Self::And(both()?),
                    BinaryOp::Or => Self::Or(both()?),
                    BinaryOp::Eq => terms().map(|(left, right)| Self::Equal(left, right))?,
                    BinaryOp::NotEq => terms().map(|(left, right)| not(Self::Equal(left, right)))?,
                    BinaryOp::Less => terms().map(|(left, right)| Self::Less(left, right))?,
                    BinaryOp::LessEq => terms().map(|(left, right)| Self::LessOrEqual(left, right))?,
                    BinaryOp::Greater => terms().map(|(left, right)| Self::Less(right, left))?,
                    BinaryOp::GreaterEq => terms().map(|(left, right)| Self::LessOrEqual(right, left))?,
                    _ => return None,
                }
            }
            _ => return None,
        })
    }

    /// Whether it holds; none if that is for Cedar to say. As in Cedar, what stands behind `&&` and `||` counts only where what
    /// stands before does not decide.
    pub(crate) fn holds(&self, facts: Facts<'_>) -> Option<bool> {
        match self {
            Self::Constant(value) => Some(*value),
            Self::Not(quick) => quick.holds(facts).map(|holds| !holds),
            Self::And(both) => {
                if both[0].holds(facts)? {
                    both[1].holds(facts)
                } else {
                    Some(false)
                }
            }
            Self::Or(both) => {
                if both[0].holds(facts)? {
                    Some(true)
                } else {
                    both[1].holds(facts)
                }
            }
            Self::Is(term) => match term.value(facts)? {
                Plain::Bool(value) => Some(value),
                Plain::Text(_) | Plain::Long(_) => None,
            },
            Self::Equal(left, right) => match (left.value(facts)?, right.value(facts)?) {
                (Plain::Text(left), Plain::Text(right)) => Some(left == right),
                (Plain::Long(left), Plain::Long(right)) => Some(left == right),
                (Plain::Bool(left), Plain::Bool(right)) => Some(left == right),
                _ => None,
            },
            Self::Less(left, right) => longs(left, right, facts).map(|(left, right)| left < right),
            Self::LessOrEqual(left, right) => longs(left, right, facts).map(|(left, right)| left <= right),
            Self::Has(base, names) => {
                let mut at = base.iter().try_fold(facts.input, |at, name| at.member(name)?)?;
                for name in names {
                    match at.member(name)? {
                        Some(next) => at = next,
                        None => return Some(false),
                    }
                }
                Some(true)
            }
        }
    }
}

fn longs(left: &Term, right: &Term, facts: Facts<'_>) -> Option<(i64, i64)> {
    match (left.value(facts)?, right.value(facts)?) {
        (Plain::Long(left), Plain::Long(right)) => Some((left, right)),
        _ => None,
    }
}

impl Term {
    fn of(expr: &Expr) -> Option<Self> {
        Some(match expr {
            Expr::Literal(Literal::Bool(value)) => Self::Bool(*value),
            Expr::Literal(Literal::Long(value)) => Self::Long(*value),
            Expr::Literal(Literal::String(text)) => Self::Text(text.as_str().into()),
            Expr::GetAttr { .. } => {
                let path = chain(expr)?;
                match path.as_slice() {
                    [first, name] if &**first == "env" => {
                        Self::Env(Some(env::of(name)).filter(|bit| circumstances::is_plain(*bit))?)
                    }
                    path => Self::Input(input(path).filter(|path| !path.is_empty())?),
                }
            }
            _ => return None,
        })
    }

    /// What it is now; none if it is not there, or no single value.
    fn value<'a>(&'a self, facts: Facts<'a>) -> Option<Plain<'a>> {
        match self {
            Self::Text(text) => Some(Plain::Text(text)),
            Self::Long(value) => Some(Plain::Long(*value)),
            Self::Bool(value) => Some(Plain::Bool(*value)),
            Self::Input(path) => path.iter().try_fold(facts.input, |at, name| at.member(name)?)?.plain(),
            Self::Env(bit) => circumstances::plain(facts.scene, facts.environment, *bit),
        }
    }
}

/// The path within the arguments, of one within `context`.
fn input(path: &[Arc<str>]) -> Option<Vec<Arc<str>>> {
    let (first, rest) = path.split_first()?;
    (&**first == "input").then(|| rest.to_vec())
}

#[cfg(test)]
mod tests {
    use cedar_policy::{Context, Entities, Expression, Policy, Request};
    use proptest::prelude::*;
    use tollgate_model::{Era, Timestamp};

    use super::*;
    use crate::plan::{Outcome, evaluate};
    use crate::uses::conjuncts;

    fn scene() -> Scene<'static> {
        Scene { now: Timestamp::from_ms(1_764_093_194_000), source: None, endpoint: "", era: Era::Modern }
    }

    fn conditions(condition: &str) -> Vec<Arc<Expr>> {
        let text = format!("permit(principal, action, resource) when {{ {condition} }};");
        let pst = Policy::parse(None, text).expect("a policy").to_pst().expect("its parts");
        conjuncts(pst.body().clauses())
    }

    /// The parts of a condition, by both.
    fn parts(condition: &str) -> Vec<(Option<Quick>, Expression)> {
        conditions(condition)
            .iter()
            .map(|expr| (Quick::of(expr), expr.to_string().parse().expect("an expression")))
            .collect()
    }

    fn by_cedar(input: &Value, expr: &Expression) -> Outcome {
        let env = circumstances::record(&scene(), Some("production"), env::ALL);
        let pairs = [("input".to_owned(), input.expression()), ("env".to_owned(), env)];
        let uid = || "Agent::\"a\"".parse().expect("a name");
        let context = Context::from_pairs(pairs).expect("a context");
        let request = Request::new(uid(), uid(), uid(), context, None).expect("a request");
        evaluate(&request, &Entities::empty(), expr)
    }

    fn by_hand(input: &Value, quick: &Quick) -> Option<bool> {
        quick.holds(Facts { input, scene: &scene(), environment: Some("production") })
    }

    fn leaf() -> impl Strategy<Value = Value> {
        prop_oneof![
            prop::sample::select(vec!["", "a", "b", "modern", "x y"])
                .prop_map(|text| Value::Text(text.to_owned())),
            (-2_i64..3).prop_map(Value::Long),
            any::<bool>().prop_map(Value::Bool),
            (-2_i64..3).prop_map(Value::Decimal),
            Just(Value::Set(vec![Value::Long(1)])),
        ]
    }

    fn record() -> impl Strategy<Value = Value> {
        let value = leaf().prop_recursive(2, 8, 3, |inner| {
            prop::collection::btree_map("[ab]", inner, 0..3)
                .prop_map(|pairs| Value::Record(pairs.into_iter().collect()))
        });
        prop::collection::btree_map("[abc]", value, 0..4)
            .prop_map(|pairs| Value::Record(pairs.into_iter().collect()))
    }

    fn place() -> impl Strategy<Value = String> {
        let names = prop::collection::vec("[abc]", 1..3);
        prop_oneof![
            4 => names.prop_map(|names| format!("context.input.{}", names.join("."))),
            1 => prop::sample::select(vec!["hour", "minute", "weekday", "era", "endpoint", "environment", "now", "source"])
                .prop_map(|name| format!("context.env.{name}")),
        ]
    }

    fn condition() -> impl Strategy<Value = String> {
        let literal = prop::sample::select(vec![
            "0",
            "1",
            "2",
            "17",
            "-1",
            "\"a\"",
            "\"\"",
            "\"modern\"",
            "true",
            "false",
        ]);
        let literal = literal.prop_map(str::to_owned);
        let term = prop_oneof![3 => place(), 2 => literal].boxed();
        let operator = prop::sample::select(vec!["==", "!=", "<", "<=", ">", ">="]);
        let simple = prop_oneof![
            4 => (term.clone(), operator, term).prop_map(|(left, op, right)| format!("({left} {op} {right})")),
            1 => place(),
            1 => prop::sample::select(vec!["true", "false"]).prop_map(str::to_owned),
            2 => "[abc]".prop_map(|name| format!("(context.input has {name})")),
            1 => ("[abc]", "[abc]").prop_map(|(one, two)| format!("(context.input has {one}.{two})")),
            1 => ("[abc]", "[abc]").prop_map(|(one, two)| format!("(context.input.{one} has {two})")),
        ];
        simple.prop_recursive(3, 12, 2, |inner| {
            prop_oneof![
                (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("({left} && {right})")),
                (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("({left} || {right})")),
                inner.prop_map(|one| format!("(!{one})")),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

        #[test]
        fn what_is_judged_here_is_judged_as_cedar_does(input in record(), condition in condition()) {
            for (quick, expr) in parts(&condition) {
                let Some(holds) = quick.and_then(|quick| by_hand(&input, &quick)) else { continue };
                let cedar = by_cedar(&input, &expr);
                let is_same = matches!((holds, &cedar), (true, Outcome::True) | (false, Outcome::False));
                prop_assert!(is_same, "{condition} of {input:?} is {holds} here");
            }
        }
    }

    #[test]
    fn common_conditions_are_judged_here_and_all_others_are_left_to_cedar() {
        let members =
            [("word", Value::Text("gate".into())), ("count", Value::Long(3)), ("sure", Value::Bool(true))];
        let nested = Value::Record(vec![("word".into(), Value::Text("in".into()))]);
        let members = members.map(|(name, value)| (name.to_owned(), value));
        let input = Value::Record(members.into_iter().chain([("deep".to_owned(), nested)]).collect());
        for (condition, holds) in [
            ("context.input.word != \"word-1\"", Some(true)),
            ("context.input.deep.word == \"in\"", Some(true)),
            ("context.env.hour < 24", Some(true)),
            ("context.input.count >= 3 || context.input.missing == 1", Some(true)),
            ("context.input has count && !context.input.sure", Some(false)),
            ("context.input has deep.word", Some(true)),
            ("context.input has deep.other", Some(false)),
            ("context.env.environment == \"production\"", Some(true)),
            // An error, or no comparison of like with like.
            ("context.input.missing == 1", None),
            ("context.input.missing == 1 || true", None),
            ("context.input.word < 3", None),
            ("context.input.word == 3", None),
            ("context.input.count", None),
            ("context.input has word.other", None),
            ("context.input.word like \"g*\"", None),
            ("context.input.count + 1 == 4", None),
            ("context.env.now < datetime(\"2030-01-01\")", None),
            ("context.env has source", None),
            ("context == {}", None),
        ] {
            let judged = parts(condition).iter().try_fold(true, |holds, (quick, _)| {
                let next = by_hand(&input, quick.as_ref()?)?;
                Some(holds && next)
            });
            assert_eq!(judged, holds, "{condition}");
        }
        let sure = conditions("context.input.sure");
        let negated = |times| {
            (0..times)
                .fold(Arc::clone(&sure[0]), |expr, _| Arc::new(Expr::UnaryOp { op: UnaryOp::Not, expr }))
        };
        assert!(Quick::of(&negated(DEPTH_MAX - 1)).is_some());
        assert!(Quick::of(&negated(DEPTH_MAX)).is_none(), "one that nests too deeply");
    }
}
