//! Record batch v2 as a validated view over bytes.
