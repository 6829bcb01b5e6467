//! The only thing that crosses cores: questions and answers over bounded queues, first-in first-out per pair.
//!
//! A question takes a slot for its answer before it is queued, and each pair of cores has as many slots as its queues
//! have room. So whoever owns a partition never waits to answer, and two cores that ask each other as much as they can
//! do not wait for each other. Waiting for a slot is the one place where the mesh pushes back.
//!
//! A question that was queued runs to its end, whether or not somebody still waits for the answer.

use std::cell::{Cell, OnceCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use glommio::channels::shared_channel::{
    ConnectedReceiver, ConnectedSender, SharedReceiver, SharedSender, new_bounded,
};

use crate::answers::{Answer, Answers, Slot};
use crate::executor::{Fatal, Queue, guard, spawn, yield_if_needed};

/// A future that stays on its core.
type Local<T> = Pin<Box<dyn Future<Output = T>>>;

/// What a core does with a question: who asked, what. Its part up to the first wait runs in the order of the questions.
type Handler<Q, A> = Box<dyn Fn(usize, Q) -> Local<A>>;

/// What travels: a question or an answer, with the slot of the answer.
struct Parcel<T>(Slot, T);

// SAFETY: glommio shares the queue between two threads, so it wants what is in it to be `Sync`, though each element is
// only ever moved in by one thread and out by the other. A shared reference to a parcel gives no access to what is in
// it: nothing here takes one.
unsafe impl<T: Send> Sync for Parcel<T> {}

/// One core's ends of the queues to and from one other core.
struct PairEnds<Q: Send + 'static, A: Send + 'static> {
    ask: SharedSender<Parcel<Q>>,
    asked: SharedReceiver<Parcel<Q>>,
    answer: SharedSender<Parcel<A>>,
    answered: SharedReceiver<Parcel<A>>,
}

/// One core's end of the mesh, to be sent there and joined.
pub struct Link<Q: Send + 'static, A: Send + 'static> {
    core: usize,
    depth: usize,
    /// By peer; none for the core itself.
    pairs: Vec<Option<PairEnds<Q, A>>>,
}

/// Makes the queues between `cores` cores, `depth` questions in flight per ordered pair; one link for each core.
#[must_use]
pub fn links<Q: Send + 'static, A: Send + 'static>(cores: usize, depth: usize) -> Vec<Link<Q, A>> {
    let mut table: Vec<Vec<Option<PairEnds<Q, A>>>> =
        (0..cores).map(|_| (0..cores).map(|_| None).collect()).collect();
    for low in 0..cores {
        let (below, above) = table.split_at_mut(low + 1);
        for (offset, row_of_high) in above.iter_mut().enumerate() {
            let (ask_up, asked_up) = new_bounded(2 * depth);
            let (answer_up, answered_up) = new_bounded(2 * depth);
            let (ask_down, asked_down) = new_bounded(2 * depth);
            let (answer_down, answered_down) = new_bounded(2 * depth);
            below[low][low + 1 + offset] =
                Some(PairEnds { ask: ask_up, asked: asked_down, answer: answer_up, answered: answered_down });
            row_of_high[low] =
                Some(PairEnds { ask: ask_down, asked: asked_up, answer: answer_down, answered: answered_up });
        }
    }
    table.into_iter().enumerate().map(|(core, pairs)| Link { core, depth, pairs }).collect()
}

impl<Q: Send + 'static, A: Send + 'static> Link<Q, A> {
    /// Joins the mesh from this core's executor; ends when all cores have. Questions from others wait until
    /// [`Mesh::serve`].
    pub async fn join(self, fatal: Fatal) -> Rc<Mesh<Q, A>> {
        // Each end waits for its counterpart, so all of them have to wait at the same time.
        let connecting: Vec<_> = self.pairs.into_iter().map(|ends| ends.map(connect)).collect();
        let mut peers = Vec::new();
        let mut inbound = Vec::new();
        for (peer, ends) in connecting.into_iter().enumerate() {
            let Some(ends) = ends else {
                peers.push(None);
                continue;
            };
            let ends = ends.await;
            let answers = Rc::new(Answers::new(self.depth));
            spawn(Queue::Serve, collect(ends.answered, answers.clone()));
            peers.push(Some(Peer { ask: ends.ask, answers }));
            inbound.push((peer, ends.asked, Rc::new(ends.answer)));
        }
        Rc::new(Mesh { core: self.core, peers, inbound: Cell::new(inbound), handler: OnceCell::new(), fatal })
    }
}

struct Connected<Q: Send + 'static, A: Send + 'static> {
    ask: ConnectedSender<Parcel<Q>>,
    asked: ConnectedReceiver<Parcel<Q>>,
    answer: ConnectedSender<Parcel<A>>,
    answered: ConnectedReceiver<Parcel<A>>,
}

fn connect<Q: Send + 'static, A: Send + 'static>(
    ends: PairEnds<Q, A>,
) -> impl Future<Output = Connected<Q, A>> {
    let ask = glommio::spawn_local(ends.ask.connect());
    let asked = glommio::spawn_local(ends.asked.connect());
    let answer = glommio::spawn_local(ends.answer.connect());
    let answered = glommio::spawn_local(ends.answered.connect());
    async move { Connected { ask: ask.await, asked: asked.await, answer: answer.await, answered: answered.await } }
}

/// The way to one other core.
struct Peer<Q: Send + 'static, A: Send + 'static> {
    ask: ConnectedSender<Parcel<Q>>,
    answers: Rc<Answers<A>>,
}

/// Questions of one other core, and the way back.
type Inbound<Q, A> = (usize, ConnectedReceiver<Parcel<Q>>, Rc<ConnectedSender<Parcel<A>>>);

/// One core's place in the mesh.
pub struct Mesh<Q: Send + 'static, A: Send + 'static> {
    core: usize,
    peers: Vec<Option<Peer<Q, A>>>,
    /// Until served.
    inbound: Cell<Vec<Inbound<Q, A>>>,
    handler: OnceCell<Handler<Q, A>>,
    fatal: Fatal,
}

impl<Q: Send + 'static, A: Send + 'static> Mesh<Q, A> {
    /// Index of this core.
    #[must_use]
    pub const fn core(&self) -> usize {
        self.core
    }

    /// How many cores there are.
    #[must_use]
    pub fn cores(&self) -> usize {
        self.peers.len()
    }

    /// Starts answering questions, of this core and of all others. Up to its first wait `handler` runs in the order in
    /// which each core asked; a panic in it ends the process.
    ///
    /// # Panics
    /// The second time.
    pub fn serve<F: Future<Output = A> + 'static>(
        self: &Rc<Self>,
        handler: impl Fn(usize, Q) -> F + 'static,
    ) {
        let handler: Handler<Q, A> = Box::new(move |from, question| Box::pin(handler(from, question)));
        assert!(self.handler.set(handler).is_ok(), "a core answers in one way");
        for (from, asked, answer) in self.inbound.take() {
            spawn(Queue::Serve, self.clone().receive(from, asked, answer));
        }
    }

    /// Asks core `to`, which may be this one. The first wait ends when the question is queued there, behind all that
    /// this core asked before; the second gives the answer.
    ///
    /// # Panics
    /// When there is no such core, or when this core asks itself before [`Self::serve`].
    pub async fn call(&self, to: usize, question: Q) -> Answer<A> {
        if to == self.core {
            return self.ask_self(question);
        }
        let peer = self.peers.get(to).and_then(Option::as_ref).expect("a core that exists");
        let (slot, answer) = peer.answers.reserve().await;
        // A peer's queue has room for every slot. It is gone only when the process ends, and then nobody waits.
        let queued = peer.ask.try_send(Parcel(slot, question));
        debug_assert!(!matches!(queued, Err(glommio::GlommioError::WouldBlock(_))), "slots exceed the queue");
        answer
    }

    fn ask_self(&self, question: Q) -> Answer<A> {
        // Guarded, because the caller is a connection, whose task would survive a panic in the middle of a decision.
        match guard(self.fatal, || self.begin(self.core, question)) {
            Ok(answer) => Answer::now(answer),
            Err(rest) => {
                let (deliver, answer) = Answer::later();
                spawn(Queue::Serve, async move { deliver.put(rest.await) });
                answer
            }
        }
    }

    /// Runs the handler up to its first wait: the answer, or what is left to do.
    fn begin(&self, from: usize, question: Q) -> Result<A, Local<A>> {
        let handler = self.handler.get().expect("a core serves before it is asked");
        let mut answer = handler(from, question);
        // Whoever runs the rest polls it at once, and leaves its own waker then.
        match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => Ok(answer),
            Poll::Pending => Err(answer),
        }
    }

    async fn receive(
        self: Rc<Self>,
        from: usize,
        asked: ConnectedReceiver<Parcel<Q>>,
        answer: Rc<ConnectedSender<Parcel<A>>>,
    ) {
        while let Some(Parcel(slot, question)) = asked.recv().await {
            match self.begin(from, question) {
                Ok(now) => send_answer(&answer, slot, now),
                Err(rest) => {
                    let answer = answer.clone();
                    spawn(Queue::Serve, async move { send_answer(&answer, slot, rest.await) });
                }
            }
            yield_if_needed().await;
        }
    }
}

fn send_answer<A: Send>(answers: &ConnectedSender<Parcel<A>>, slot: Slot, answer: A) {
    let sent = answers.try_send(Parcel(slot, answer));
    debug_assert!(!matches!(sent, Err(glommio::GlommioError::WouldBlock(_))), "an answer without a slot");
}

/// Hands arriving answers to whoever waits for them.
async fn collect<A: Send + 'static>(answered: ConnectedReceiver<Parcel<A>>, answers: Rc<Answers<A>>) {
    while let Some(Parcel(slot, answer)) = answered.recv().await {
        answers.complete(slot, answer);
    }
}
