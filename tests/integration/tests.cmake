# Integration tests: real servers. tests/integration/store_*.c are cmocka programs that tests/support/s3server runs beside a real S3 server.
file(GLOB FLOE_INTEGRATION_S3 CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/store_*.c)
foreach(src ${FLOE_INTEGRATION_S3})
  get_filename_component(name ${src} NAME_WE)
  add_executable(integration_${name} ${src})
  target_link_libraries(integration_${name} PRIVATE floe_test_support)
  add_test(NAME integration.${name}
    COMMAND ${CMAKE_SOURCE_DIR}/tests/support/s3server run $<TARGET_FILE:integration_${name}>)
  set_tests_properties(integration.${name} PROPERTIES LABELS integration TIMEOUT 300)
endforeach()

# End to end with kcat, over both stores.
add_test(NAME integration.e2e_file COMMAND Python3::Interpreter ${CMAKE_CURRENT_LIST_DIR}/e2e.py file)
add_test(NAME integration.e2e_s3 COMMAND ${CMAKE_SOURCE_DIR}/tests/support/s3server run
  $<TARGET_FILE:Python3::Interpreter> ${CMAKE_CURRENT_LIST_DIR}/e2e.py s3)
set_tests_properties(integration.e2e_file integration.e2e_s3 PROPERTIES LABELS integration TIMEOUT 600
  ENVIRONMENT "FLOE_TEST_BIN=$<TARGET_FILE:floe>")
add_test(NAME integration.store_s3_tls
  COMMAND ${CMAKE_SOURCE_DIR}/tests/support/s3server run $<TARGET_FILE:integration_store_s3>)
set_tests_properties(integration.store_s3_tls PROPERTIES LABELS integration TIMEOUT 300 ENVIRONMENT S3SERVER_TLS=1)
add_test(NAME integration.minio_run
  COMMAND ${CMAKE_CURRENT_LIST_DIR}/minio_run.sh $<TARGET_FILE:integration_store_s3>)
set_tests_properties(integration.minio_run PROPERTIES LABELS integration TIMEOUT 300)

# `floe selftest` on good stores and on broken ones.
set(FLOE_SELFTEST ${CMAKE_CURRENT_LIST_DIR}/selftest.py)
add_test(NAME integration.selftest_file COMMAND Python3::Interpreter ${FLOE_SELFTEST} file)
add_test(NAME integration.selftest_broken COMMAND Python3::Interpreter ${FLOE_SELFTEST} broken)
add_test(NAME integration.selftest_s3 COMMAND ${CMAKE_SOURCE_DIR}/tests/support/s3server run
  $<TARGET_FILE:Python3::Interpreter> ${FLOE_SELFTEST} s3)
set_tests_properties(integration.selftest_file integration.selftest_broken integration.selftest_s3 PROPERTIES LABELS integration
  TIMEOUT 300 ENVIRONMENT "FLOE_TEST_BIN=$<TARGET_FILE:floe>")

# `floe group` and `floe config`.
add_test(NAME integration.commands COMMAND Python3::Interpreter ${CMAKE_CURRENT_LIST_DIR}/commands.py)
set_tests_properties(integration.commands PROPERTIES LABELS integration TIMEOUT 180 ENVIRONMENT "FLOE_TEST_BIN=$<TARGET_FILE:floe>")

# What members of consumer groups may keep in memory.
add_test(NAME integration.group_memory COMMAND Python3::Interpreter -B ${CMAKE_CURRENT_LIST_DIR}/group_memory.py)
set_tests_properties(integration.group_memory PROPERTIES LABELS integration TIMEOUT 120 ENVIRONMENT "FLOE_TEST_BIN=$<TARGET_FILE:floe>")

# Metrics and health over HTTP, with curl.
add_test(NAME integration.http COMMAND ${CMAKE_SOURCE_DIR}/tests/support/s3server run
  $<TARGET_FILE:Python3::Interpreter> -B ${CMAKE_CURRENT_LIST_DIR}/http.py)
set_tests_properties(integration.http PROPERTIES LABELS integration TIMEOUT 180 ENVIRONMENT "FLOE_TEST_BIN=$<TARGET_FILE:floe>")

include(${CMAKE_CURRENT_LIST_DIR}/clients/tests.cmake)
include(${CMAKE_CURRENT_LIST_DIR}/compare/tests.cmake)
