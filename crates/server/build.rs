//! Makes the code of the gRPC services that this crate speaks, without a `protoc` on the machine.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    #[cfg(feature = "keda")]
    {
        let files = protox::compile(["proto/externalscaler.proto"], ["proto"])?;
        // Connections are the affair of whoever calls: only the tests have a client.
        tonic_prost_build::configure().build_transport(false).compile_fds(files)?;
    }
    Ok(())
}
