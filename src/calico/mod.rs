//! The Docker network and IPAM plugin with Calico's data path, and BIRD's configuration.
