# Fault tests: real brokers, a real S3 server, real kills. Without librdkafka they fail and say how to get it.
pkg_check_modules(RDKAFKA IMPORTED_TARGET rdkafka)
if(RDKAFKA_FOUND)
  add_executable(fault_load ${CMAKE_CURRENT_LIST_DIR}/load.c)
  target_link_libraries(fault_load PRIVATE PkgConfig::RDKAFKA Threads::Threads)
  add_executable(fault_group ${CMAKE_CURRENT_LIST_DIR}/group.c)
  target_link_libraries(fault_group PRIVATE PkgConfig::RDKAFKA Threads::Threads)
endif()
# A Floe that knows the first format only.
add_executable(floe-old ${CMAKE_SOURCE_DIR}/src/broker/main.c ${CMAKE_SOURCE_DIR}/src/lease/newest.c)
target_include_directories(floe-old PRIVATE ${CMAKE_SOURCE_DIR}/src)
target_compile_definitions(floe-old PRIVATE FLOE_FORMAT_NEWEST=1)
target_link_libraries(floe-old PRIVATE floe_lib)
add_executable(fault_check ${CMAKE_CURRENT_LIST_DIR}/check.c)
add_test(NAME fault.kill COMMAND ${CMAKE_SOURCE_DIR}/tests/support/s3server run
  $<TARGET_FILE:Python3::Interpreter> ${CMAKE_CURRENT_LIST_DIR}/kill.py)
add_test(NAME fault.trouble COMMAND ${CMAKE_SOURCE_DIR}/tests/support/s3server run
  $<TARGET_FILE:Python3::Interpreter> ${CMAKE_CURRENT_LIST_DIR}/trouble.py)
set_tests_properties(fault.trouble PROPERTIES LABELS fault TIMEOUT 600 ENVIRONMENT "FLOE_TEST_BIN=$<TARGET_FILE:floe>")
# All kinds of harm. 1,000 rounds on demand: ctest -L fault-all; any number: FLOE_TEST_ROUNDS of kill.py.
set_tests_properties(fault.kill PROPERTIES LABELS fault TIMEOUT 600 PROCESSORS 2
  ENVIRONMENT "FLOE_TEST_BIN=$<TARGET_FILE:floe>;FLOE_TEST_ROUNDS=50;FLOE_TEST_CLUSTERS=3")
add_test(NAME fault.kill.all COMMAND ${CMAKE_SOURCE_DIR}/tests/support/s3server run
  $<TARGET_FILE:Python3::Interpreter> ${CMAKE_CURRENT_LIST_DIR}/kill.py)
set_tests_properties(fault.kill.all PROPERTIES LABELS fault-all TIMEOUT 7200
  ENVIRONMENT "FLOE_TEST_BIN=$<TARGET_FILE:floe>;FLOE_TEST_ROUNDS=1000")
add_test(NAME fault.moves COMMAND ${CMAKE_SOURCE_DIR}/tests/support/s3server run
  $<TARGET_FILE:Python3::Interpreter> ${CMAKE_CURRENT_LIST_DIR}/moves.py)
set_tests_properties(fault.moves PROPERTIES LABELS fault TIMEOUT 300 ENVIRONMENT "FLOE_TEST_BIN=$<TARGET_FILE:floe>")
add_test(NAME fault.upgrade COMMAND ${CMAKE_SOURCE_DIR}/tests/support/s3server run
  $<TARGET_FILE:Python3::Interpreter> ${CMAKE_CURRENT_LIST_DIR}/upgrade.py)
set_tests_properties(fault.upgrade PROPERTIES LABELS fault TIMEOUT 300
  ENVIRONMENT "FLOE_TEST_BIN=$<TARGET_FILE:floe>;FLOE_TEST_OLD=$<TARGET_FILE:floe-old>")
add_test(NAME fault.reads COMMAND ${CMAKE_SOURCE_DIR}/tests/support/s3server run
  $<TARGET_FILE:Python3::Interpreter> ${CMAKE_CURRENT_LIST_DIR}/reads.py)
set_tests_properties(fault.reads PROPERTIES LABELS fault TIMEOUT 300 ENVIRONMENT "FLOE_TEST_BIN=$<TARGET_FILE:floe>")
add_test(NAME fault.groups COMMAND ${CMAKE_SOURCE_DIR}/tests/support/s3server run
  $<TARGET_FILE:Python3::Interpreter> ${CMAKE_CURRENT_LIST_DIR}/groups.py)
set_tests_properties(fault.groups PROPERTIES LABELS fault TIMEOUT 300 ENVIRONMENT "FLOE_TEST_BIN=$<TARGET_FILE:floe>")
