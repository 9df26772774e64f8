// Is the libhs that is loaded to be trusted? Releases of Vectorscan overlook matches in values of more than one register's
// bytes, which no filter may: where that is known of a version, or seen on this machine, the linear engine is not used.
#pragma once

namespace flowd {

// "hyperscan" or "vectorscan".
const char *linear_name();

// Why the linear engine is not to be used; "" where nothing speaks against it. Found out once a process, at the first call.
const char *linear_fault();

}  // namespace flowd
