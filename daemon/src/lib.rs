//! What every daemon of Sealhost needs: listener, peers, rules, audit, hardening.
