//! The arrow: one file a step that waits, straight-line async, generic over [`Net`].

pub mod accept;
pub mod account;
pub mod admission;
pub mod around;
pub mod arriving;
pub mod attempt;
pub mod attempts;
pub mod bodies;
pub mod body;
pub mod care;
pub mod client;
pub mod commit;
pub mod committed;
pub mod connection;
pub mod cors;
pub mod dial;
pub mod digest;
pub mod errand;
pub mod events;
pub mod exchange;
pub mod explain;
pub mod guard;
pub mod guarded;
pub mod guardrail;
pub mod heads;
pub mod health;
pub mod hedge;
pub mod judged;
mod judged_answer;
mod judged_stream;
pub mod lesson;
pub mod local;
pub mod mirror;
pub mod outgoing;
pub mod outgoing_head;
pub mod passing;
pub mod peer;
pub mod question;
pub mod relay;
pub mod rescue;
pub mod respond;
pub mod route;
pub mod send;
pub mod target;
pub mod tend;
pub mod tunnel;
pub mod upload;
pub mod upstream;
pub mod verdict;
pub mod waiter;

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
};

use crate::{
    io::{
        buffer::Lists,
        hub::{Epoch, Hub},
        log::LogSender,
        net::Net,
        pool::Pool,
        wheel::Wheel,
    },
    journal::metrics::Counters,
};
use admission::Admission;

/// What one core owns. No logic.
pub struct Core<N: Net> {
    /// The machine.
    pub net: N,
    /// Where cores meet.
    pub hub: Arc<Hub>,
    /// The epoch that this core saw last; see [`Core::epoch`].
    #[allow(
        clippy::redundant_allocation,
        reason = "the Rc is this core's own count; the Arc's is shared by all cores"
    )]
    epoch: RefCell<Rc<Arc<Epoch>>>,
    /// Deadlines.
    pub wheel: Wheel,
    /// The request heads seen last.
    pub heads: heads::Heads,
    /// What bytes on their way out are gathered in.
    pub lists: Lists,
    /// Idle upstream connections.
    pub pool: RefCell<Pool<N::Reader, N::Writer>>,
    /// Where records go; `None`: the log is off.
    pub log: RefCell<Option<LogSender>>,
    /// What it knows of the health of targets.
    pub health: health::Health,
    /// What it counts.
    pub counters: Arc<Counters>,
    /// What it has taken on.
    pub admission: Rc<Admission>,
    /// The copies for mirrors that are under way.
    pub mirrors: Rc<mirror::Mirrors>,
    /// Where Trunkline itself listens: no request may make it call itself.
    pub listeners: Vec<SocketAddr>,
    /// Whether this core is to end when its exchanges have.
    pub draining: Cell<bool>,
    /// Whether it is to end now: exchanges are cut, and told so.
    pub cutting: Cell<bool>,
}

impl<N: Net> Core<N> {
    /// A core that starts on the hub's epoch.
    pub fn new(
        net: N,
        hub: Arc<Hub>,
        log: Option<LogSender>,
        counters: Arc<Counters>,
        listeners: Vec<SocketAddr>,
    ) -> Core<N> {
        let epoch = RefCell::new(Rc::new(hub.epoch()));
        let admission = Rc::new(Admission::new(&hub, Arc::clone(&counters)));
        Core {
            net,
            health: health::Health::new(Arc::clone(&hub)),
            hub,
            epoch,
            wheel: Wheel::default(),
            heads: heads::Heads::default(),
            lists: Lists::default(),
            pool: RefCell::default(),
            log: RefCell::new(log),
            counters,
            admission,
            mirrors: Rc::default(),
            listeners,
            draining: Cell::new(false),
            cutting: Cell::new(false),
        }
    }

    /// The epoch for an exchange that begins now. Counts references on this core only, so that cores do not fight
    /// over one counter.
    pub fn epoch(&self) -> Rc<Arc<Epoch>> {
        if self.epoch.borrow().number != self.hub.number() {
            *self.epoch.borrow_mut() = Rc::new(self.hub.epoch());
            self.admission.settle();
        }
        Rc::clone(&self.epoch.borrow())
    }

    /// Tells the metrics how many upstream connections idle. Called wherever that changed.
    pub fn note_pool(&self) {
        self.counters.upstream_idle.set(self.pool.borrow().len());
    }
}
