# What a developer runs. CI runs the same, through .ci/run.

# Everything that must be green before a commit.
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    cargo test --workspace

# A service with stand-ins for GitHub: no accounts needed.
dev:
    cargo run -- demo

# The dashboard in the browser of this machine; pictures of its pages go to target/screenshots.
browser:
    cargo build
    mkdir -p target/browser
    cp tests/browser/package.json tests/browser/package-lock.json target/browser/
    cd target/browser && npm ci --no-audit --no-fund
    node --test-reporter=spec tests/browser/dashboard.mjs target/debug/firstlight

# The whole service against its ceilings; release build.
bench:
    cargo bench --bench service
    cargo bench --bench runs
    cargo bench --bench integrations
    cargo bench --bench deliveries
    cargo bench --bench cron
    cargo bench --bench admin
