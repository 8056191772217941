//! Finds out what messages add to a template's text, from its syntax alone.
//!
//! A template is followed if it is made of three parts: a beginning, one loop over the messages that prints them, an end. It is then
//! shown that
//!
//! * nothing in the beginning depends on the messages but the first, or on what loops that print nothing collect from messages of other
//!   kinds (`system` ones, for a template that moves these to the front);
//! * the loop prints a message of a kind in the same way wherever it stands after the first, and so that it ends in the same state;
//! * no message's text depends on what comes later (`ahead.rs`), but for the index of the last query: where an earlier loop
//!   looks for that, only conversations that end with a query are spoken of, in which it stands behind all else;
//! * the end depends on that state, and on what stands besides the messages.
//!
//! So much is needed for a text to be continued without its template, and nothing less is taken for it.

use std::collections::BTreeSet;

use minijinja::machinery::ast::{CallArg, Expr, ForLoop, Stmt};
use minijinja::machinery::{WhitespaceConfig, parse};

use super::ahead::Ahead;
use super::frame::{Frame, Test};
use super::paths::ways;
use super::queries::{last_index, queries};
use super::symbols::{Attributes, Facts, Key, Kind, Loop, Next, Refusal, Scene, State};
use super::syntax::{
    assigned, attribute, bodies, expressions, function, is_number, is_var, mentions, operands, prints,
    variable, writes,
};

/// What was shown of a template.
#[derive(Clone, Debug)]
pub(super) struct Proven {
    /// The kinds whose messages may be appended, and how.
    pub(super) frames: Vec<(Kind, Frame)>,
    pub(super) after: After,
    /// What a user's content has to be like for it to be a query, if the conversation has to end with one.
    pub(super) query: Option<Vec<Vec<(Test, bool)>>>,
}

/// Behind which messages others may be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    Any,
    /// A user's: behind others the template may be in some other state.
    User {
        /// Or a system message that is the first of all.
        first_system: bool,
    },
}

/// The template's source in its parts.
struct Parts<'t, 's> {
    statements: &'t [Stmt<'s>],
    /// Where among them the loop is.
    at: usize,
    main: &'t ForLoop<'s>,
    target: &'s str,
    kinds: Vec<Kind>,
    facts: Facts,
    query: Option<Vec<Vec<(Test, bool)>>>,
    /// What attributes are made as.
    made: Attributes,
    /// Those that are never set again.
    fixed: Attributes,
    /// Those that only the main loop sets.
    initial: Attributes,
}

/// As a template's source is parsed when it is rendered.
fn whitespace() -> WhitespaceConfig {
    WhitespaceConfig { keep_trailing_newline: false, lstrip_blocks: true, trim_blocks: true }
}

/// Bytes of a template that is followed: more than models come with.
const SOURCE_MAX: usize = 64 << 10;

/// How deep its statements and expressions may stand in each other, a sum's parts too.
const DEPTH_MAX: usize = 64;

pub(super) fn prove(source: &str) -> Result<Proven, Refusal> {
    if source.len() > SOURCE_MAX {
        return refuse("is too long");
    }
    let template =
        parse(source, "", Default::default(), whitespace()).map_err(|error| Refusal(error.to_string()))?;
    let Stmt::Template(template) = &template else { return refuse("is not understood") };
    if !is_within(&template.children, DEPTH_MAX) {
        return refuse("is nested too deep");
    }
    Parts::of(&template.children)?.proven()
}

/// Whether nothing in them stands deeper.
fn is_within(statements: &[Stmt<'_>], depth: usize) -> bool {
    fn is_shallow(expr: &Expr<'_>, depth: usize) -> bool {
        depth > 0 && operands(expr).into_iter().all(|part| is_shallow(part, depth - 1))
    }
    depth > 0
        && statements.iter().all(|statement| {
            expressions(statement).into_iter().all(|expr| is_shallow(expr, depth))
                && bodies(statement).into_iter().all(|body| is_within(body, depth - 1))
        })
}

fn refuse<T>(what: &str) -> Result<T, Refusal> {
    Err(Refusal(format!("the template {what}")))
}

impl<'t, 's> Parts<'t, 's> {
    fn of(statements: &'t [Stmt<'s>]) -> Result<Self, Refusal> {
        let is_main = |statement: &Stmt<'_>| match statement {
            Stmt::ForLoop(each) => mentions(&each.iter, &|name| name == "messages") && prints(&each.body),
            _ => false,
        };
        let mut mains = statements.iter().enumerate().filter(|(_, statement)| is_main(statement));
        let (Some((at, Stmt::ForLoop(main))), None) = (mains.next(), mains.next()) else {
            return refuse("has no single loop that prints messages");
        };
        let Some(target) = over_messages(main).filter(|(_, within)| *within == Loop::Forward) else {
            return refuse("prints messages in another order, or not all of them");
        };
        let mut parts = Self {
            statements,
            at,
            main,
            target: target.0,
            kinds: Kind::ALL.to_vec(),
            facts: Facts::default(),
            query: None,
            made: Attributes::new(),
            fixed: Attributes::new(),
            initial: Attributes::new(),
        };
        parts.read_beginning()?;
        Ok(parts)
    }

    /// Namespaces, loops that print nothing, and whether anything else looks at the messages.
    fn read_beginning(&mut self) -> Result<(), Refusal> {
        let all = writes(self.statements);
        let in_main = writes(&self.main.body);
        let mut state = State::default();
        for statement in &self.statements[..self.at] {
            if let Stmt::Set(set) = statement
                && let Some(name) = variable(&set.target)
                && let Some(("namespace", args)) = function(&set.expr)
            {
                self.add_namespace(name, args, &all, &in_main, &state)?;
                continue;
            }
            match statement {
                Stmt::ForLoop(each) if mentions(&each.iter, &|name| name == "messages") => {
                    self.read_silent_loop(each, &all, &mut state)?;
                }
                other => {
                    let scene = self.scene(None, false, Next::Unknown, Loop::Other);
                    Ahead { scenes: &[scene] }.check(std::slice::from_ref(other), &mut state)?;
                }
            }
        }
        if self.facts.counted.iter().any(|key| self.facts.last_query.as_ref() != Some(key)) {
            return refuse("counts the messages");
        }
        if [Kind::User, Kind::Assistant].iter().all(|kind| self.kinds.contains(kind)) {
            Ok(())
        } else {
            refuse("collects something from all messages")
        }
    }

    fn add_namespace(
        &mut self,
        name: &str,
        args: &[CallArg<'_>],
        all: &[Key],
        in_main: &[Key],
        state: &State,
    ) -> Result<(), Refusal> {
        let is_taken = self.facts.namespaces.iter().any(|known| known == name)
            || state.locals.contains_key(name)
            || matches!(name, "messages" | "loop");
        if is_taken {
            return refuse("makes a namespace of something else");
        }
        for arg in args {
            let CallArg::Kwarg(attribute, value) = arg else {
                return refuse("fills a namespace in another way");
            };
            let key = (name.to_owned(), (*attribute).to_owned());
            let count = |places: &[Key]| places.iter().filter(|place| **place == key).count();
            let Some(value) = value.as_const() else {
                let scene = self.scene(None, false, Next::Unknown, Loop::Other);
                if (Ahead { scenes: &[scene] }).expression(value, state).is_err() {
                    self.facts.counted.push(key);
                }
                continue;
            };
            self.made.insert(key.clone(), value.clone());
            if count(all) == 0 {
                self.fixed.insert(key, value);
            } else if count(all) == count(in_main) {
                self.initial.insert(key, value);
            }
        }
        self.facts.namespaces.push(name.to_owned());
        Ok(())
    }

    fn read_silent_loop(
        &mut self,
        each: &ForLoop<'_>,
        all: &[Key],
        state: &mut State,
    ) -> Result<(), Refusal> {
        let Some((target, within)) = over_messages(each) else { return refuse("goes through some messages") };
        if self.facts.last_query.is_none()
            && let Some((key, conditions)) = last_index(each, within, all, &self.made)
            && !conditions.iter().any(|condition| mentions(condition, &|name| name != target))
        {
            let queries_of = |kind| {
                let scene = self.scene(Some(kind), false, Next::Unknown, Loop::Other);
                queries(&Scene { target, ..scene }, &conditions)
            };
            let of_user = queries_of(Kind::User)?;
            // Of others it only has to be sure that they can be asked.
            let kinds = self.kinds.iter().copied().filter(|kind| queries_of(*kind).is_ok()).collect();
            (self.query, self.kinds) = (Some(of_user), kinds);
            self.facts.last_query = Some(key);
            return Ok(());
        }
        // What it collects from messages that are appended must be nothing.
        let idle = |kind: &Kind| {
            let scene = Scene { target, ..self.scene(Some(*kind), false, Next::Unknown, within) };
            let states = scene.run(&each.body, State::default());
            states.is_ok_and(|states| states.iter().all(|state| !state.wrote && state.way.pieces.is_empty()))
        };
        let kinds: Vec<Kind> = self.kinds.iter().copied().filter(idle).collect();
        self.kinds = kinds;
        for first in [true, false] {
            let scenes = self.scenes(target, first, within);
            Ahead { scenes: &scenes }.check(&each.body, &mut state.clone())?;
        }
        Ok(())
    }

    fn scene(&self, message: Option<Kind>, first: bool, next: Next, within: Loop) -> Scene<'_> {
        Scene { facts: &self.facts, target: self.target, message, first, next, within }
    }

    /// Any message, with all that may be appended behind it.
    fn scenes<'a>(&'a self, target: &'a str, first: bool, within: Loop) -> Vec<Scene<'a>> {
        let nexts = self.kinds.iter().map(|kind| Next::Message(*kind)).chain([Next::Nothing]);
        nexts.map(|next| Scene { target, ..self.scene(None, first, next, within) }).collect()
    }

    fn proven(self) -> Result<Proven, Refusal> {
        for first in [true, false] {
            let mut state = State { attributes: self.fixed.clone(), ..State::default() };
            let scenes = self.scenes(self.target, first, Loop::Forward);
            Ahead { scenes: &scenes }.check(&self.main.body, &mut state)?;
        }
        let (state, after) = match self.frames(&self.fixed) {
            Ok(_) if self.check_end(&self.fixed).is_ok() => (self.fixed.clone(), After::Any),
            _ => self.after_user()?,
        };
        let frames = self.frames(&state)?;
        self.check_end(&state)?;
        Ok(Proven { frames, after, query: self.query })
    }

    /// What is known of the attributes behind a user's message.
    fn after_user(&self) -> Result<(Attributes, After), Refusal> {
        let run = |kind, first, attributes: &Attributes| {
            let start = State { attributes: attributes.clone(), ..State::default() };
            self.scene(Some(kind), first, Next::Unknown, Loop::Forward).run(&self.main.body, start)
        };
        let user = [run(Kind::User, true, &self.fixed)?, run(Kind::User, false, &self.fixed)?];
        let state = common(user.concat());
        let begun = self.fixed.iter().chain(&self.initial).map(|(key, value)| (key.clone(), value.clone()));
        let first_system = run(Kind::System, true, &begun.collect())
            .is_ok_and(|states| states.iter().all(|after| includes(&after.attributes, &state)));
        Ok((state, After::User { first_system }))
    }

    /// What each kind of message prints in this state, which it must leave as it is.
    fn frames(&self, state: &Attributes) -> Result<Vec<(Kind, Frame)>, Refusal> {
        let mut frames = Vec::new();
        for kind in &self.kinds {
            let scene = self.scene(Some(*kind), false, Next::Unknown, Loop::Forward);
            let start = State { attributes: state.clone(), ..State::default() };
            let frame = scene.run(&self.main.body, start).and_then(|states| {
                if states.iter().all(|after| includes(&after.attributes, state)) {
                    Ok(Frame { ways: ways(&states) })
                } else {
                    refuse("is in another state after some message")
                }
            });
            match frame {
                Ok(frame) => frames.push((*kind, frame)),
                Err(refusal) if matches!(kind, Kind::User | Kind::Assistant) => return Err(refusal),
                Err(_) => {}
            }
        }
        Ok(frames)
    }

    /// The end may depend on that state and on what stands besides the messages, on nothing else: it is known from other conversations
    /// with the same settings.
    fn check_end(&self, state: &Attributes) -> Result<(), Refusal> {
        let end = &self.statements[self.at + 1..];
        let mut tainted = BTreeSet::from(["messages".to_owned()]);
        self.taint(&self.statements[..self.at], false, &mut tainted);
        if !self.depends_only_on(end, state, &tainted) {
            return refuse("ends with something that depends on the messages");
        }
        let scene = self.scene(None, false, Next::Unknown, Loop::Other);
        Ahead { scenes: &[scene] }.check(end, &mut State::default())
    }

    /// Adds the variables whose values may depend on messages.
    fn taint(&self, statements: &[Stmt<'_>], anyway: bool, tainted: &mut BTreeSet<String>) {
        for statement in statements {
            let is_namespace = |name: &str| self.facts.namespaces.iter().any(|known| known == name);
            let depends = |expr: &Expr<'_>, tainted: &BTreeSet<String>| {
                mentions(expr, &|name| is_namespace(name) || tainted.contains(name))
            };
            match statement {
                Stmt::Set(set) => {
                    if anyway || depends(&set.expr, tainted) {
                        tainted.extend(assigned(&set.target));
                    }
                }
                Stmt::SetBlock(set) => tainted.extend(assigned(&set.target)),
                // Its own variables end with it.
                Stmt::ForLoop(_) | Stmt::EmitRaw(_) | Stmt::EmitExpr(_) => {}
                Stmt::IfCond(choice) => {
                    let anyway = anyway || depends(&choice.expr, tainted);
                    self.taint(&choice.true_body, anyway, tainted);
                    self.taint(&choice.false_body, anyway, tainted);
                }
                other => bodies(other).into_iter().for_each(|body| self.taint(body, true, tainted)),
            }
        }
    }

    fn depends_only_on(
        &self,
        statements: &[Stmt<'_>],
        state: &Attributes,
        tainted: &BTreeSet<String>,
    ) -> bool {
        let free = |expr: &Expr<'_>| self.is_free(expr, state, tainted);
        statements.iter().all(|statement| match statement {
            Stmt::EmitRaw(_) => true,
            Stmt::EmitExpr(emit) => free(&emit.expr),
            Stmt::IfCond(choice) => {
                free(&choice.expr)
                    && self.depends_only_on(&choice.true_body, state, tainted)
                    && self.depends_only_on(&choice.false_body, state, tainted)
            }
            Stmt::Set(set) => variable(&set.target).is_some() && free(&set.expr),
            _ => false,
        })
    }

    fn is_free(&self, expr: &Expr<'_>, state: &Attributes, tainted: &BTreeSet<String>) -> bool {
        if let Some((of, name)) = attribute(expr)
            && let Some(of) = variable(of)
            && self.facts.namespaces.iter().any(|known| known == of)
        {
            return state.contains_key(&(of.to_owned(), name));
        }
        let is_known =
            |name: &str| tainted.contains(name) || self.facts.namespaces.iter().any(|known| known == name);
        variable(expr).is_none_or(|name| !is_known(name))
            && operands(expr).into_iter().all(|part| self.is_free(part, state, tainted))
    }
}

/// Whether all of `part` is known there too.
fn includes(attributes: &Attributes, part: &Attributes) -> bool {
    part.iter().all(|(key, value)| attributes.get(key) == Some(value))
}

/// The attributes that have one value in all states.
fn common(states: Vec<State>) -> Attributes {
    let mut states = states.into_iter().map(|state| state.attributes);
    let mut common = states.next().unwrap_or_default();
    for other in states {
        common.retain(|key, value| other.get(key) == Some(value));
    }
    common
}

/// The variable of a loop over all messages, and in which order it goes.
fn over_messages<'s>(each: &ForLoop<'s>) -> Option<(&'s str, Loop)> {
    if each.filter_expr.is_some() || each.recursive || !each.else_body.is_empty() {
        return None;
    }
    let target = variable(&each.target)?;
    match &each.iter {
        iter if is_var(iter, "messages") => Some((target, Loop::Forward)),
        Expr::Slice(slice) => {
            let step = slice.step.as_ref()?.as_const()?;
            let whole = slice.start.is_none() && slice.stop.is_none() && is_number(&step, -1);
            (whole && is_var(&slice.expr, "messages")).then_some((target, Loop::Reversed))
        }
        _ => None,
    }
}
