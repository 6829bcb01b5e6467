//! The only thing that crosses cores: questions and answers over bounded queues, first-in first-out per pair.
//!
//! A question takes a slot for its answer before it is queued. There are enough slots that questions which wait for long, as
//! a fetch at the end of a log does, keep nobody else from asking. Whoever owns a partition never waits to answer: what a queue
//! has no room for is kept beside it, and that can be no more than there are slots. So two cores that ask each other as much
//! as they can do not wait for each other. Waiting for a slot is the one place where the mesh pushes back.
//!
//! A question that was queued runs to its end, whether or not somebody still waits for the answer.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use glommio::channels::shared_channel::{
    ConnectedReceiver, ConnectedSender, SharedReceiver, SharedSender, new_bounded,
};
use glommio::{GlommioError, ResourceType};

use crate::answers::{Answer, Answers, Slot};
use crate::executor::{Fatal, Queue, guard, spawn, yield_if_needed};

/// Parcels that one queue has room for.
const QUEUE: usize = 1024;

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
            let (ask_up, asked_up) = new_bounded(QUEUE);
            let (answer_up, answered_up) = new_bounded(QUEUE);
            let (ask_down, asked_down) = new_bounded(QUEUE);
            let (answer_down, answered_down) = new_bounded(QUEUE);
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
            peers.push(Some(Peer { ask: Way::new(ends.ask), answers }));
            inbound.push((peer, ends.asked, Way::new(ends.answer)));
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

/// One direction to another core: a queue, and what it had no room for.
struct Way<T: Send + 'static> {
    queue: ConnectedSender<Parcel<T>>,
    /// Goes into the queue before anything newer.
    beside: RefCell<VecDeque<Parcel<T>>>,
    /// A task moves what is beside the queue into it.
    moving: Cell<bool>,
}

impl<T: Send + 'static> Way<T> {
    fn new(queue: ConnectedSender<Parcel<T>>) -> Rc<Self> {
        Rc::new(Self { queue, beside: RefCell::default(), moving: Cell::new(false) })
    }

    /// Sends without waiting. The other end is gone only when the process ends, and then nobody misses it.
    fn send(self: &Rc<Self>, parcel: Parcel<T>) {
        if self.moving.get() {
            self.beside.borrow_mut().push_back(parcel);
            return;
        }
        if let Err(GlommioError::WouldBlock(ResourceType::Channel(parcel))) = self.queue.try_send(parcel) {
            self.beside.borrow_mut().push_back(parcel);
            self.moving.set(true);
            spawn(Queue::Serve, self.clone().move_on());
        }
    }

    async fn move_on(self: Rc<Self>) {
        loop {
            let next = self.beside.borrow_mut().pop_front();
            let Some(next) = next else { break };
            if self.queue.send(next).await.is_err() {
                break;
            }
        }
        self.moving.set(false);
    }
}

/// The way to one other core.
struct Peer<Q: Send + 'static, A: Send + 'static> {
    ask: Rc<Way<Q>>,
    answers: Rc<Answers<A>>,
}

/// Questions of one other core, and the way back.
type Inbound<Q, A> = (usize, ConnectedReceiver<Parcel<Q>>, Rc<Way<A>>);

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
        peer.ask.send(Parcel(slot, question));
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

    async fn receive(self: Rc<Self>, from: usize, asked: ConnectedReceiver<Parcel<Q>>, answer: Rc<Way<A>>) {
        while let Some(Parcel(slot, question)) = asked.recv().await {
            match self.begin(from, question) {
                Ok(now) => answer.send(Parcel(slot, now)),
                Err(rest) => {
                    let answer = answer.clone();
                    spawn(Queue::Serve, async move { answer.send(Parcel(slot, rest.await)) });
                }
            }
            yield_if_needed().await;
        }
    }
}

/// Hands arriving answers to whoever waits for them.
async fn collect<A: Send + 'static>(answered: ConnectedReceiver<Parcel<A>>, answers: Rc<Answers<A>>) {
    while let Some(Parcel(slot, answer)) = answered.recv().await {
        answers.complete(slot, answer);
    }
}
